"""Training steps with the default number of threads against every other number, also while another process computes.

    python bench/threads.py [--only REGEX] [--rounds N] [--hogs N]

Every number of threads has a process of its own; they take turns. `loss` is how much longer the default takes than the
best number. The second table is measured while `hogs` processes (default 1) keep a processor busy each.
"""
import argparse
import multiprocessing
import os
import re
import statistics
import time


def mlp(torch, sizes, batch, optimizer):
    """A step of an MLP; sizes: widths of the layers."""
    nn = torch.nn
    layers = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.ReLU())][:-1]
    net = nn.Sequential(*layers)
    return net, getattr(torch.optim, optimizer)(net.parameters(), lr=1e-3), torch.randn(batch, sizes[0]), sizes[-1]


def cnn(torch, batch):
    """A step of a small CNN on 28 x 28 images."""
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    )  # fmt: skip
    return net, torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), torch.randn(batch, 1, 28, 28), 10


def transformer(torch, batch, length, width):
    """A step of two transformer layers, whose first output is classified."""
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(width, 10)

        def forward(self, x):
            return self.head(self.body(x)[:, 0])
    net = Net()
    return net, torch.optim.AdamW(net.parameters(), lr=1e-3), torch.randn(batch, length, width), 10


ROWS = {
    "MLP 64-32-10, batch 16, Adam": lambda t: mlp(t, (64, 32, 10), 16, "Adam"),
    "MLP 784-128-10, batch 32, Adam": lambda t: mlp(t, (784, 128, 10), 32, "Adam"),
    "MLP 784-128-10, batch 128, SGD": lambda t: mlp(t, (784, 128, 10), 128, "SGD"),
    "MLP 256-1024-1024-10, batch 256, Adam": lambda t: mlp(t, (256, 1024, 1024, 10), 256, "Adam"),
    "CNN 28x28, batch 32, SGD": lambda t: cnn(t, 32),
    "Transformer 2 x 64, 8 sequences of 32": lambda t: transformer(t, 8, 32, 64),
}


def worker(row, threads, pipe):
    """Answers each request with the seconds of a step; the median of some."""
    import fireseed as torch
    if threads:
        torch.set_num_threads(threads)
    net, optimizer, x, classes = ROWS[row](torch)
    y = torch.randint(0, classes, (x.shape[0],))

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()

    def seconds(count):
        start = time.perf_counter()
        for _ in range(count):
            step()
        return (time.perf_counter() - start) / count
    step()
    count = max(1, round(0.03 / seconds(3)))
    pipe.send(torch.get_num_threads())
    while pipe.recv():
        pipe.send(seconds(count))


def hog():
    while True:
        pass


def measure(row, choices, rounds):
    """{number of threads, 0 for the default: median seconds}, and what the default is."""
    context = multiprocessing.get_context("fork")
    workers, default = {}, 0
    for threads in choices:
        here, there = context.Pipe()
        process = context.Process(target=worker, args=(row, threads, there), daemon=True)
        process.start()
        got = here.recv()
        default = default if threads else got
        workers[threads] = process, here, []
    for i in range(rounds):
        for threads in choices if i % 2 else choices[::-1]:
            _, pipe, times = workers[threads]
            pipe.send(True)
            times.append(pipe.recv())
    for process, pipe, _ in workers.values():
        pipe.send(False)
        process.join()
    return {threads: statistics.median(times) for threads, (_, _, times) in workers.items()}, default


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name matches this regular expression")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hogs", type=int, default=1)
    args = parser.parse_args()
    choices = [0, *range(1, len(os.sched_getaffinity(0)) + 1)]
    for hogs in (0, args.hogs):
        busy = [multiprocessing.Process(target=hog, daemon=True) for _ in range(hogs)]
        for process in busy:
            process.start()
        print(f"\n{hogs} other processes computing; milliseconds a step")
        print(f"{'':40}{'default':>10}" + "".join(f"{n:>10}" for n in choices[1:]) + f"{'loss':>8}")
        for row in ROWS:
            if re.search(args.only, row):
                times, default = measure(row, choices, args.rounds)
                best = min(times[n] for n in choices)
                print(f"{row:40}" + "".join(f"{times[n] * 1e3:10.3f}" for n in choices)
                      + f"{times[0] / best - 1:8.0%}  ({default} threads)", flush=True)
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
