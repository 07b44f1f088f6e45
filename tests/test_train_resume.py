"""Trainer.resume: a run that was killed ends with the bits of one that was not."""

import os
import random
import signal
import subprocess
import sys

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn, train
from fireseed.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset


def data():
    g = fs.Generator().manual_seed(5)
    x = fs.randn(60, 4, generator=g)
    return TensorDataset(x, (x[:, :3]).argmax(1))


class Noise(train.Callback):
    """Draws from every generator, as augmentations do."""

    def on_batch_start(self, t, batch):
        batch[0].add_(0.01 * fs.randn(batch[0].shape) + 0.01 * random.random() + 0.01 * float(np.random.rand()))


class Crash(train.Callback):
    def __init__(self, at):
        self.at, self.batches = at, 0

    def on_batch_end(self, t, logs):
        self.batches += 1
        if self.batches == self.at:
            raise RuntimeError("the lights went out")


def make(**options):
    fs.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    opt = fs.optim.Adam(net.parameters(), lr=0.02)
    scheduler = fs.optim.lr_scheduler.OneCycleLR(opt, 0.05, total_steps=200)
    return train.Trainer(net, opt, nn.CrossEntropyLoss(), metrics=["accuracy", "auroc"], scheduler=scheduler, schedule="batch", progress=False, **options)


def loader(own=False):
    return DataLoader(data(), batch_size=8, shuffle=True, generator=fs.Generator().manual_seed(9) if own else None)


def run(folder, crashes=(), epochs=6, own=False, every=None, callbacks=(), **options):
    """A run that crashes after so many batches, again and again, and is started anew each time, then ends."""
    for at in (*crashes, None):
        t = make(**options)
        stopping = train.EarlyStopping("val_loss", patience=4)
        more = [Crash(at)] if at is not None else []
        try:
            t.resume(folder, loader(own), epochs, DataLoader(data(), batch_size=32), [Noise(), stopping, *callbacks, *more], every=every)
        except RuntimeError as error:
            assert "lights" in str(error)
    return t


def same(a, b):
    for (name, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values()):
        assert fs.equal(x, y), name
    assert a.history.values == b.history.values and a.history.best_epoch == b.history.best_epoch
    assert (a.epoch, a.step) == (b.epoch, b.step)


@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize("own", [False, True])
def test_same_bits(tmp_path, every, own):
    """Crashes after 3, 11, 1 and 20 more batches of 8 an epoch."""
    whole = run(tmp_path / "a", every=every, own=own)
    end = random.random(), np.random.rand(), fs.rand(1).item()
    parts = run(tmp_path / "b", (3, 11, 1, 20), every=every, own=own)
    assert (random.random(), np.random.rand(), fs.rand(1).item()) == end
    same(whole, parts)
    plain = make()
    plain.fit(loader(own), 6, DataLoader(data(), batch_size=32), [Noise(), train.EarlyStopping("val_loss", patience=4)])
    same(whole, plain)  # saving changes nothing


def test_accumulation_and_micro_batches(tmp_path):
    options = {"accumulate": 3, "micro_batch": 5, "clip_norm": 0.5}
    same(run(tmp_path / "a", every=1, **options), run(tmp_path / "b", (2, 4, 9), every=1, **options))


def test_done_is_done(tmp_path):
    first = run(tmp_path / "a", epochs=3)
    again = run(tmp_path / "a", epochs=3)
    same(first, again)
    longer = run(tmp_path / "a", epochs=5)
    assert longer.epoch == 5 and longer.history.epochs == 5
    same(longer, run(tmp_path / "b", epochs=5))


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    class Stop(train.Callback):
        def on_epoch_end(self, t, logs):
            if t.epoch == 2:
                t.stop = "enough"

    first = run(tmp_path / "a", callbacks=[Stop()])
    again = run(tmp_path / "a", callbacks=[Stop()])
    assert first.history.stopped == again.history.stopped == "enough"
    same(first, again)


def test_kill_9(tmp_path):
    """The process is killed at any moment, thrice; then it ends with the digest of an undisturbed run."""
    script = tmp_path / "run.py"
    script.write_text("""
import sys, time, hashlib
import fireseed as fs
from fireseed import nn, train
from fireseed.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset
folder, slow = sys.argv[1], sys.argv[2] == "slow"
fs.manual_seed(0)
x = fs.randn(64, 4)
data = TensorDataset(x, (x @ fs.randn(4, 3)).argmax(1))
net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 3))
class Slow(train.Callback):
    def on_batch_end(self, t, logs):
        if slow:
            print(t.step, flush=True)
            time.sleep(0.004)
t = train.Trainer(net, fs.optim.AdamW(net.parameters(), lr=0.01), nn.CrossEntropyLoss(), progress=False)
t.resume(folder, DataLoader(data, batch_size=8, shuffle=True), 8, callbacks=[Slow()], every=2)
print("end", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
""")

    def start(folder, slow):
        return subprocess.Popen([sys.executable, str(script), str(tmp_path / folder), slow], stdout=subprocess.PIPE, text=True)

    expected = start("a", "fast").communicate(timeout=60)[0]
    rng = random.Random(1)
    steps = []
    for _ in range(3):
        process = start("b", "slow")
        for _ in range(rng.randint(3, 18)):
            line = process.stdout.readline()
        steps.append(int(line))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    assert start("b", "fast").communicate(timeout=60)[0] == expected
    assert steps == sorted(steps) and steps[-1] > steps[0]  # each start went on where the last had been


def test_logs_of_a_resumed_run(tmp_path):
    """CSV and JSON lines are those of one run: nothing twice, nothing missing."""
    texts = []
    for name, crashes in (("a", ()), ("b", (5, 9, 10))):
        logs = [train.CSVLogger(tmp_path / name / "log.csv"), train.JSONLLogger(tmp_path / name / "log.jsonl", every=2)]
        run(tmp_path / name, crashes, epochs=4, every=3, callbacks=logs)
        texts.append([(tmp_path / name / f"log.{kind}").read_text() for kind in ("csv", "jsonl")])
    assert texts[0] == texts[1] and len(texts[0][0].splitlines()) == 5


def test_top_k_of_a_resumed_run(tmp_path):
    names = []
    for name, crashes in (("a", ()), ("b", (5, 9, 10))):
        keep = train.ModelCheckpoint(tmp_path / name / "m-{epoch}.safetensors", top_k=2)
        run(tmp_path / name, crashes, callbacks=[keep])
        names.append(sorted(f for f in os.listdir(tmp_path / name) if f.startswith("m-")))
    assert names[0] == names[1] and len(names[0]) == 2


def test_mistakes(tmp_path):
    run(tmp_path / "a", (5,), every=1, epochs=1)
    run(tmp_path / "b", (), epochs=1)
    with pytest.raises(ValueError, match="every must be at least 1"):
        make().resume(tmp_path / "c", loader(), 1, every=0)
    with pytest.raises(ValueError, match="optimizer and a loss"):
        train.Trainer(nn.ReLU()).resume(tmp_path / "c", loader(), 1)
    t = make()
    with pytest.raises(RuntimeError, match="the lights"):
        t.resume(tmp_path / "d", loader(), 2, callbacks=[Crash(6)], every=1)
    t = make()
    with pytest.raises(ValueError, match="is it the same data"):
        t.resume(tmp_path / "d", [next(iter(loader()))], 2, every=1)


def test_another_run_in_the_folder(tmp_path):
    """What cannot go on from the checkpoint is said, not trained."""
    t = make()
    with pytest.raises(RuntimeError, match="the lights"):
        t.resume(tmp_path, loader(), 2, callbacks=[Crash(3)], every=1)
    with pytest.raises(ValueError, match="epoch of 8 batches, the data has 15; is it the same data and batch size"):
        make().resume(tmp_path, DataLoader(data(), batch_size=4), 2)
    net = make().model
    with pytest.raises(ValueError, match="has the optimizer Adam, this Trainer has SGD; take another folder"):
        train.Trainer(net, fs.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss(), progress=False).resume(
            tmp_path, loader(), 2)
    t = make()
    t.metrics.pop("auroc")
    with pytest.raises(ValueError, match=r"epoch with the metrics \['accuracy', 'auroc'\], now they are \['accuracy'\]"):
        t.resume(tmp_path, loader(), 2)


def test_generator_of_a_sampler_in_a_batch_sampler(tmp_path):
    def batches():
        sampler = RandomSampler(data(), generator=fs.Generator().manual_seed(9))
        return DataLoader(data(), batch_sampler=BatchSampler(sampler, 8, False))

    plain = make()
    plain.fit(batches(), 2)
    t = make()
    with pytest.raises(RuntimeError, match="the lights"):
        t.resume(tmp_path, batches(), 2, callbacks=[Crash(11)], every=1)
    t = make()
    t.resume(tmp_path, batches(), 2, every=1)
    same(plain, t)
