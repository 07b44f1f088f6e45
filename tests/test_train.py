"""Trainer, callbacks, History, and the digits script beside PyTorch."""

import json
import os
import signal
import subprocess
import sys
import warnings

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn, train
from fireseed.utils.data import DataLoader, TensorDataset

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(os.path.dirname(HERE), "examples")


def problem(n=64, classes=3):
    """Points (n, 4) and their classes, which a linear map separates."""
    rng = np.random.RandomState(0)
    x = rng.randn(n, 4).astype(np.float32)
    return TensorDataset(fs.tensor(x), fs.tensor((x @ rng.randn(4, classes)).argmax(1)))


def trainer(lr=0.1, **kwargs):
    fs.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return train.Trainer(net, fs.optim.SGD(net.parameters(), lr=lr), nn.CrossEntropyLoss(), progress=False, **kwargs)


def test_fit_learns():
    data = problem()
    t = trainer(metrics=["accuracy"], lr=0.5)
    history = t.fit(DataLoader(data, batch_size=16, shuffle=True), 30, validation=DataLoader(data, batch_size=32))
    assert history is t.history and history.epochs == 30 and history.stopped == "finished"
    assert set(history.keys()) == {"loss", "accuracy", "val_loss", "val_accuracy", "lr"}
    assert history["loss"][-1] < 0.3 * history["loss"][0] and history["val_accuracy"][-1] > 0.9
    scores = t.validate(DataLoader(data, batch_size=7))
    assert scores["accuracy"] == pytest.approx(history["val_accuracy"][-1], abs=1e-6)
    assert t.model.training
    out = t.predict(DataLoader(data, batch_size=7))
    assert out.shape == (64, 3) and not out.requires_grad
    assert fs.allclose(out, t.predict(data.tensors[0]), atol=1e-5)
    t.fit(DataLoader(data, batch_size=16), 2)
    assert t.epoch == 32 and history.epochs == 32


def test_same_as_plain_loop():
    data = problem()
    t = trainer(clip_norm=0.5)
    fs.manual_seed(1)
    t.fit(DataLoader(data, batch_size=16, shuffle=True), 2)
    fs.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    opt = fs.optim.SGD(net.parameters(), lr=0.1)
    fs.manual_seed(1)
    for _ in range(2):
        for x, y in DataLoader(data, batch_size=16, shuffle=True):
            nn.functional.cross_entropy(net(x), y).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            opt.step()
            opt.zero_grad()
    for a, b in zip(t.model.parameters(), net.parameters(), strict=False):
        assert fs.allclose(a, b, atol=1e-6)


def test_accumulation_is_exact():
    data = problem(50)
    whole, parts = trainer(), trainer(accumulate=4)
    whole.fit(DataLoader(data, batch_size=50), 1)
    parts.fit(DataLoader(data, batch_size=13), 1)  # 13 + 13 + 13 + 11
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=False):
        assert fs.allclose(a, b, atol=1e-6)


def test_penalties():
    net = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    with fs.no_grad():
        net[0].weight.copy_(fs.tensor([[3.0, -4.0]]))
        net[0].bias.fill_(100.0)
    assert train.l1_penalty(net).item() == 7 and train.l2_penalty(net).item() == 25
    data = DataLoader(TensorDataset(fs.zeros(4, 2), fs.zeros(4, 1)), batch_size=4)
    lin = nn.Linear(2, 1)
    with fs.no_grad():
        lin.weight.copy_(fs.tensor([[1.0, -2.0]]))
        lin.bias.zero_()
    t = train.Trainer(lin, fs.optim.SGD(lin.parameters(), lr=0.1), nn.MSELoss(), l1=1.0, l2=0.5, progress=False)
    history = t.fit(data, 1)
    assert history["loss"] == [0.0]
    assert fs.allclose(lin.weight, fs.tensor([[1 - 0.1 * (1 + 1), -2 + 0.1 * (1 + 2)]]))


class Recorder(train.Callback):
    def __init__(self):
        self.calls = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda *args: self.calls.append(name)
        return super().__getattribute__(name)


def test_losses_must_not_broadcast():
    """Outputs (N, 1) with targets (N): PyTorch warns and learns nonsense; the Trainer says what to do."""
    for loss in (nn.MSELoss(), nn.L1Loss(), nn.functional.smooth_l1_loss, lambda y, t: nn.functional.huber_loss(y, t)):
        lin = nn.Linear(2, 1)
        data = DataLoader(TensorDataset(fs.zeros(4, 2), fs.ones(4)), batch_size=4)
        t = train.Trainer(lin, fs.optim.SGD(lin.parameters(), lr=0.1), loss, progress=False)
        for call in (lambda t=t, data=data: t.fit(data, 1), lambda t=t, data=data: t.validate(data)):
            with pytest.raises(ValueError, match=r"output \(4, 1\) with every target \(4,\).*unsqueeze"):
                call()
        assert t.fit([(fs.zeros(4, 2), fs.ones(4, 1))], 1).epochs == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # classes beside scores are as they should be
        lin = nn.Linear(2, 3)
        t = train.Trainer(lin, fs.optim.SGD(lin.parameters(), lr=0.1), nn.CrossEntropyLoss(), progress=False)
        assert t.fit([(fs.zeros(4, 2), fs.ones(4).long())] * 2, 2).epochs == 2


def test_order_of_callbacks():
    rec = Recorder()
    data = DataLoader(problem(8), batch_size=4)
    trainer().fit(data, 2, validation=data, callbacks=[rec])
    batch = ["on_batch_start", "on_step_start", "on_step_end", "on_batch_end"]
    epoch = ["on_epoch_start", *batch, *batch, "on_validation_start", "on_validation_end", "on_epoch_end"]
    assert rec.calls == ["on_fit_start", *epoch, *epoch, "on_fit_end"]


class Script(train.Callback):
    """Writes given numbers into the figures of each epoch."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, t, logs):
        logs["val_loss"] = self.values[t.epoch - 1]
        with fs.no_grad():
            t.model[0].bias.fill_(float(t.epoch))


@pytest.mark.parametrize(
    "values,best,epochs", [([5, 4, 3, 4, 5, 1], 3, 5), ([5, 4, 3, 2, 1, 0], 6, 6), ([float("nan")] * 6, None, 2)]
)
def test_early_stopping(values, best, epochs):
    t = trainer()
    stopping = train.EarlyStopping("val_loss", patience=2)
    history = t.fit(DataLoader(problem(8), batch_size=4), 6, callbacks=[Script(values), stopping])
    assert history.epochs == epochs and history.best_epoch == best
    assert history.stopped.startswith("early stopping" if epochs < 6 else "finished")
    if best is not None:
        assert t.model[0].bias[0].item() == best  # the weights of the best epoch are back


def test_interrupt():
    class Interrupt(train.Callback):
        def on_batch_start(self, t, batch):
            if t.epoch == 4:
                raise KeyboardInterrupt

    t = trainer()
    history = t.fit(
        DataLoader(problem(8), batch_size=4),
        9,
        callbacks=[Script([3, 2, 5, 6]), train.EarlyStopping("val_loss", patience=9), Interrupt()],
    )
    assert history.stopped == "interrupted" and history.epochs == 3 and history.best_epoch == 2
    assert t.model[0].bias[0].item() == 2


def test_ctrl_c(tmp_path):
    """A real SIGINT: the run stops at once, the script goes on with the history."""
    script = tmp_path / "endless.py"
    script.write_text("""
import signal
import fireseed as fs
from fireseed import nn, train
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
net = nn.Linear(64, 2)
data = [(fs.randn(256, 64), fs.zeros(256, dtype=fs.int64))] * 10
class Ready(train.Callback):
    def on_epoch_end(self, trainer, logs):
        if trainer.epoch == 3:
            print("ready", flush=True)
t = train.Trainer(net, fs.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss(), progress=False)
h = t.fit(data, 10**9, callbacks=[Ready(), train.EarlyStopping(patience=10**9)])
print(h.stopped, h.epochs >= 3, len(h["loss"]) == h.epochs, h.best_epoch is not None)
""")
    run = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=20)
        assert rest.strip() == "interrupted True True True" and run.returncode == 0
    finally:
        run.kill()


def test_failures():
    data = DataLoader(problem(8), batch_size=4)
    with pytest.raises(ValueError, match="no batches"):
        trainer().fit([], 1)
    with pytest.raises(TypeError, match=r"expected batches \(input, ..., target\)"):
        trainer().fit([fs.zeros(2, 4)], 1)
    with pytest.raises(ValueError, match="unknown metric 'acuracy'"):
        trainer(metrics=["acuracy"])
    with pytest.raises(KeyError, match="no figure 'val_loss'"):
        trainer().fit(data, 1, callbacks=[train.EarlyStopping("val_loss")])
    with pytest.raises(ValueError, match="optimizer and a loss"):
        train.Trainer(nn.ReLU()).fit(data, 1)


def test_schedulers():
    data = DataLoader(problem(8), batch_size=4)
    t = trainer(lr=1.0)
    t.scheduler = fs.optim.lr_scheduler.StepLR(t.optimizer, 1, gamma=0.5)
    assert t.fit(data, 3)["lr"] == [1.0, 0.5, 0.25]
    t = trainer(lr=1.0, schedule="batch")
    t.scheduler = fs.optim.lr_scheduler.StepLR(t.optimizer, 1, gamma=0.5)
    assert t.fit(data, 2)["lr"] == [0.25, 0.0625]


def test_checkpoint(tmp_path):
    pytest.importorskip("safetensors")
    t = trainer()
    t.fit(
        DataLoader(problem(8), batch_size=4),
        2,
        callbacks=[train.ModelCheckpoint(tmp_path / "m-{epoch}.safetensors", save_best_only=False)],
    )
    assert sorted(os.listdir(tmp_path)) == ["m-1.safetensors", "m-2.safetensors"]
    t.model.load_state_dict(fs.load(tmp_path / "m-2.safetensors"))


def history_of(loss, val=None):
    h = train.History()
    for i, value in enumerate(loss):
        h.append({"loss": value, **({"val_loss": val[i]} if val else {})})
    return h


@pytest.mark.parametrize(
    "loss,val,word",
    [
        ([1.0, 0.5], None, "Too few"),
        ([1, float("nan"), float("nan")], None, "Diverged"),
        ([1.0, 0.999, 0.995, 0.996], None, "Not learning"),
        ([1, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05], [1, 0.8, 0.6, 0.65, 0.7, 0.8, 0.9, 1, 1.2], "Overfitting"),
        ([1, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 0.82, 0.71, 0.62, 0.53, 0.42], "Still improving"),
        (
            [1, 0.8, 0.75, 0.74, 0.74, 0.74, 0.74, 0.74, 0.74],
            [1, 0.8, 0.76, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75],
            "Underfitting",
        ),
        ([1, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2], [1, 0.3, 0.21, 0.21, 0.21, 0.21, 0.21], "Looks fine"),
    ],
)
def test_diagnosis(loss, val, word):
    assert history_of(loss, val).diagnosis().startswith(word)


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    h = history_of([1, 0.5, 0.3], [1, 0.6, 0.5])
    h.best_epoch = 3
    figure = h.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000 and len(figure.axes) == 1
    assert [line.get_label() for line in figure.axes[0].lines][:2] == ["training", "validation"]


def test_diagnosis_plot(tmp_path):
    """The sentences stand below the curves, and the part after the lowest validation loss is shaded."""
    pytest.importorskip("matplotlib")
    h = history_of([1, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05], [1, 0.8, 0.6, 0.65, 0.7, 0.8, 0.9, 1, 1.2])
    text = h.diagnosis(plot=tmp_path / "curves.png")
    assert text == h.diagnosis() and (tmp_path / "curves.png").stat().st_size > 1000
    figure = h.plot(diagnosis=True)
    assert figure.get_supxlabel().replace("\n", " ") == text
    (shaded,) = figure.axes[0].patches
    assert shaded.get_x() == 3 and shaded.get_width() == 6
    h.best_epoch, h.stopped = 3, "early stopping: val_loss has not improved for 6 epochs"
    assert h.diagnosis().startswith("Overfitting, stopped early") and "epoch 3 are the ones to keep" in h.diagnosis()
    for h in (history_of([1, 0.7, 0.5]), history_of([1, float("nan"), 1], [1, float("nan"), 1]), history_of([1.0])):
        assert h.plot(diagnosis=True).axes  # without validation, with a loss that is not finite, with one epoch


def test_metrics():
    out, target = fs.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), fs.tensor([1, 0, 0])
    assert train.accuracy(out, target) == pytest.approx(2 / 3)
    assert train.accuracy(fs.tensor([0.9, 0.2]), fs.tensor([1.0, 1.0])) == 0.5
    assert train.accuracy(fs.tensor([-3.0, 2.0]), fs.tensor([0.0, 1.0])) == 1.0
    assert train.mean_absolute_error(fs.tensor([1.0, 3.0]), fs.tensor([0.0, 1.0])) == 1.5
    with pytest.raises(ValueError, match="accuracy"):
        train.accuracy(fs.zeros(2, 3), fs.zeros(4, 5))


# ---- the digits script ----------------------------------------------------------------------------------------------
def plain_losses(tmp_path, *args):
    out = tmp_path / "losses.json"
    subprocess.run(
        [sys.executable, os.path.join(EXAMPLES, "digits_plain.py"), "--steps", "50", "--losses", str(out), *args],
        check=True,
        timeout=300,
    )
    return json.loads(out.read_text())


def test_digits_curve_is_pytorchs(tmp_path):
    """The first 50 losses beside stored ones of PyTorch 2.13 and, where it is installed, PyTorch itself."""
    pytest.importorskip("sklearn")
    losses = plain_losses(tmp_path)
    with open(os.path.join(HERE, "data", "digits_losses.json")) as file:
        stored = json.load(file)
    assert len(losses) == len(stored) == 50
    np.testing.assert_allclose(losses, stored, rtol=0, atol=1e-4)
    try:
        import torch  # noqa: F401
    except ImportError:
        return
    np.testing.assert_allclose(losses, plain_losses(tmp_path, "--torch"), rtol=0, atol=1e-4)


def test_digits_example(tmp_path):
    """A short run of the Trainer's example: it learns, and writes the picture and the weights."""
    for package in ("sklearn", "matplotlib", "safetensors"):
        pytest.importorskip(package)
    done = subprocess.run(
        [
            sys.executable,
            os.path.join(EXAMPLES, "digits.py"),
            "--seed",
            "0",
            "--epochs",
            "6",
            "--output",
            str(tmp_path),
        ],
        check=True,
        timeout=300,
        capture_output=True,
        text=True,
    )
    accuracy = float(done.stdout.split("test accuracy ")[1].split(" %")[0])
    assert accuracy > 90
    assert (tmp_path / "curves.png").stat().st_size > 1000 and (tmp_path / "model.safetensors").stat().st_size > 1000
    assert "loaded it again" in done.stdout
