"""What the Trainer costs beside a loop written by hand, and partial_fit beside scikit-learn's.

    python bench/trainer.py [--steps 500] [--repeat 40] [--threads 1]

Microseconds a step of a tiny network (4 -> 8 -> 3, batches of 16, SGD) from one DataLoader: the loop by hand, Trainer.fit
without and with the progress bar, with a metric, with a callback at every batch, in turns; medians over the repeats, and
of each Trainer the median difference to the loop by hand of the same turn (aim: at most 5). The clock is the thread's own,
so that other programs on the machine count little. Then partial_fit of MLP
64 -> 128 -> 10 on batches of 32 rows (aim: at least 5 x faster than scikit-learn's), and the whole fit.
"""

import argparse
import statistics
import sys
import time
import warnings

import fireseed as fs
from fireseed import nn, train
from fireseed.utils.data import DataLoader, TensorDataset


class Terminal:
    """A terminal that nobody reads: tqdm draws its bar for it."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def write(self, text):
        return len(text)

    def flush(self):
        pass


class Touch(train.Callback):
    def on_batch_end(self, trainer, logs):
        self.last = logs["loss"]


def make():
    fs.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return net, fs.optim.SGD(net.parameters(), lr=0.01), nn.CrossEntropyLoss()


def by_hand(data):
    net, opt, loss_of = make()

    def epoch():
        total = count = 0
        for x, y in data:
            loss = loss_of(net(x), y)
            loss.backward()
            opt.step()
            opt.zero_grad()
            total += loss.item() * len(x)
            count += len(x)
        return total / count

    return epoch


def by_trainer(data, callbacks=(), **options):
    net, opt, loss_of = make()
    trainer = train.Trainer(net, opt, loss_of, **{"progress": False, **options})
    return lambda: trainer.fit(data, 1, callbacks=callbacks)


def overhead(steps, repeat):
    x = fs.randn(16 * steps, 4)
    data = DataLoader(TensorDataset(x, (x[:, :3]).argmax(1)), batch_size=16)
    runs = {"loop by hand": by_hand(data), "Trainer": by_trainer(data), "Trainer, progress bar": by_trainer(data, progress=True),
            "Trainer, accuracy": by_trainer(data, metrics=["accuracy"]), "Trainer, callback at batches": by_trainer(data, [Touch()])}
    times = {name: [] for name in runs}
    stderr, sys.stderr = sys.stderr, Terminal()
    try:
        for turn in range(repeat + 2):
            for name, run in runs.items():
                start = time.thread_time()
                run()
                if turn > 1:
                    times[name].append((time.thread_time() - start) / steps * 1e6)
    finally:
        sys.stderr = stderr
    hand = times["loop by hand"]
    print(f"{'us a step':32}{'median':>9}{'over by hand':>14}")
    for name, values in times.items():
        over = statistics.median(v - h for v, h in zip(values, hand))
        print(f"{name:32}{statistics.median(values):9.2f}{over:14.2f}")


def estimators(repeat):
    import numpy as np
    from fireseed import sklearn as ours
    from sklearn import neural_network as peer

    warnings.simplefilter("ignore")
    rng = np.random.RandomState(0)
    print(f"\n{'MLPClassifier, ms':32}{'sklearn':>9}{'fireseed':>14}{'ratio':>8}")
    for dtype in (np.float64, np.float32):
        X, y = rng.randn(32, 64).astype(dtype), rng.randint(0, 10, 32)
        both = [kind(hidden_layer_sizes=(128,), random_state=0) for kind in (peer.MLPClassifier, ours.MLPClassifier)]
        for estimator in both:
            estimator.partial_fit(X, y, classes=range(10))
        row(f"partial_fit, 32 rows, {dtype.__name__}", [lambda e=e, X=X, y=y: e.partial_fit(X, y) for e in both], repeat, 20)
    X, y = rng.randn(2000, 64), rng.randint(0, 10, 2000)
    fits = [lambda kind=kind: kind(hidden_layer_sizes=(128,), random_state=0, max_iter=10).fit(X, y)
            for kind in (peer.MLPClassifier, ours.MLPClassifier)]
    row("fit, 2000 rows, 10 epochs", fits, max(repeat // 8, 3))


def row(name, calls, repeat, block=1):
    """Medians of the two calls, in turns; block: calls in a row, so that each has its data in the cache."""
    times = [[], []]
    for _ in range(repeat):
        for call, into in zip(calls, times):
            for _ in range(block):
                start = time.thread_time()
                call()
                into.append(time.thread_time() - start)
    a, b = (statistics.median(t) * 1e3 for t in times)
    print(f"{name:32}{a:9.3f}{b:14.3f}{a / b:8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    fs.set_num_threads(args.threads)
    overhead(args.steps, args.repeat)
    estimators(args.repeat)
