"""lr_find, overfit_batch, summary, logs, checkpoints of the best epochs, TensorBoard."""

import csv
import json
import math
import os
import random
import struct

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn, train
from fireseed.utils.data import DataLoader, TensorDataset


def data(n=256):
    g = fs.Generator().manual_seed(1)
    x = fs.randn(n, 8, generator=g)
    return TensorDataset(x, (x @ fs.randn(8, 3, generator=g)).argmax(1))


class Counting(nn.Module):
    """A module with state that is not in state_dict: a number, and a buffer that is replaced."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", fs.zeros(1), persistent=False)

    def forward(self, x):
        self.calls += 1
        self.seen = self.seen + 1
        return x


def make(optimizer=None, **options):
    fs.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), Counting(), nn.Linear(16, 3))
    opt = optimizer(net) if optimizer else fs.optim.Adam(net.parameters(), lr=0.01)
    return train.Trainer(net, opt, nn.CrossEntropyLoss(), progress=False, **options)


def everything(t):
    """All state there is, as bytes."""
    parts = [p.detach().numpy().tobytes() for p in (*t.model.parameters(), *t.model.buffers())]
    parts += [repr(t.optimizer.state_dict()), t.model[4].calls, [m.training for m in t.model.modules()]]
    parts += [None if p.grad is None else p.grad.numpy().tobytes() for p in t.model.parameters()]
    parts += [fs.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state()[1].tobytes()]
    return [*parts, t.epoch, t.step, t.batch, t.history.values.copy()]


LOOKS = {
    "lr_find": lambda t, loader: t.lr_find(loader, steps=30),
    "overfit_batch": lambda t, loader: t.overfit_batch(loader, steps=20),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("fresh", [True, False])
def test_looks_leave_no_trace(look, own, fresh):
    """Bit for bit: what is there, and the run that follows; before and in the middle of a training."""
    runs = []
    for looks in (False, True):
        t = make(lambda net: fs.optim.SGD([{"params": net[0].parameters(), "lr": 0.02}, {"params": net[5].parameters()},
                                           {"params": net[1].parameters()}], lr=0.01, momentum=0.9))
        t.scheduler = fs.optim.lr_scheduler.StepLR(t.optimizer, 1, 0.9)
        loader = DataLoader(data(), batch_size=32, shuffle=True, generator=fs.Generator().manual_seed(3) if own else None)
        if not fresh:
            t.fit(loader, 2)
            t.loss(t.model(data().tensors[0]), data().tensors[1]).backward()  # gradients lie about
        if looks:
            before = everything(t)
            buffers = [id(b) for b in t.model.buffers()]
            LOOKS[look](t, loader)
            assert everything(t) == before and [id(b) for b in t.model.buffers()] == buffers
        t.fit(loader, 2)
        runs.append(everything(t))
    assert runs[0] == runs[1]


def test_lr_find_finds():
    """The suggestion trains well; rates a thousand times smaller or larger do not."""
    t = make(lambda net: fs.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9))
    found = t.lr_find(DataLoader(data(), batch_size=32, shuffle=True))
    assert 1e-3 < found.suggestion < 1 and found.stopped == (len(found.lrs) < 100)
    assert found.lrs[0] == pytest.approx(1e-7) and len(found.losses) == len(found.lrs) == len(found.raw)
    ratios = [b / a for a, b in zip(found.lrs, found.lrs[1:])]
    assert ratios == pytest.approx([(10 / 1e-7) ** (1 / 99)] * len(ratios))
    losses = {}
    for factor in (1e-3, 1, 1e3):
        u = make(lambda net, factor=factor: fs.optim.SGD(net.parameters(), lr=found.suggestion * factor, momentum=0.9))
        losses[factor] = u.fit(DataLoader(data(), batch_size=32, shuffle=True), 8)["loss"][-1]
    assert losses[1] < 0.6 * losses[1e-3] and not losses[1e3] < losses[1]
    text = str(found)
    assert "suggestion (|)" in text and "*" in text and f"{found.suggestion:.2g}" in text
    assert len(text.splitlines()) == 14 and max(map(len, text.splitlines())) < 80


def test_lr_find_draws(tmp_path):
    pytest.importorskip("matplotlib")
    found = make().lr_find(DataLoader(data(), batch_size=32), steps=40)
    figure = found.plot(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 1000
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "learning rate" and len(axes.lines) == 3


def test_lr_find_without_a_result():
    """A model that cannot learn gets no suggestion; an interrupted look is undone too."""
    t = train.Trainer(net := nn.Linear(8, 3), fs.optim.SGD(net.parameters(), lr=0.1), lambda o, y: (o * 0).sum() + 1, progress=False)
    found = t.lr_find(DataLoader(data(), batch_size=32))
    assert found.suggestion is None and "no suggestion" in str(found) and "does not fall" in repr(found)
    t = make()
    before = everything(t)

    def broken():
        yield from list(DataLoader(data(), batch_size=32))[:3]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk"):
        t.lr_find(broken())
    assert everything(t)[:-4] == before[:-4]
    for bad in ({"start": 1.0, "end": 0.1}, {"steps": 3}):
        with pytest.raises(ValueError, match="lr_find"):
            t.lr_find([], **bad)
    with pytest.raises(ValueError, match="no batches"):
        t.lr_find([])


def test_overfit_batch():
    loader = DataLoader(data(), batch_size=16)
    good = make(lambda net: fs.optim.Adam(net.parameters(), lr=0.05)).overfit_batch(loader, steps=150)
    assert good.learned and good.last < 0.1 * good.first and good.message.startswith("Fine") and len(good.losses) == 150
    nothing = make(lambda net: fs.optim.SGD(net.parameters(), lr=0.0)).overfit_batch(next(iter(loader)), steps=20)
    assert not nothing.learned or nothing.message.startswith("Learning")
    t = make(lambda net: fs.optim.SGD(net.parameters(), lr=1e12))
    assert not t.overfit_batch(loader, steps=20).learned
    slow = make(lambda net: fs.optim.SGD(net.parameters(), lr=0.01)).overfit_batch(loader, steps=40)
    assert not slow.learned and slow.message.startswith("Learning, but not by heart")
    t = make()
    weight = t.model[0].weight.detach().clone()
    t.overfit_batch(loader, steps=5, keep=True)
    assert not fs.equal(weight, t.model[0].weight) and t.step == 5
    with pytest.raises(ValueError, match="at least 2"):
        t.overfit_batch(loader, steps=1)


# ---- summary --------------------------------------------------------------------------------------------------------
def test_summary():
    net = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(2048, 10)))
    net[0].requires_grad_(False)
    net.train()
    rng = fs.get_rng_state()
    s = train.summary(net, (1, 1, 8, 8))
    assert s.rows == [
        ("0", "Conv2d", "(1, 32, 8, 8)", 320, 32 * 64 * 9), ("1", "BatchNorm2d", "(1, 32, 8, 8)", 64, 0),
        ("2", "ReLU", "(1, 32, 8, 8)", 0, 0), ("3.0", "Flatten", "(1, 2048)", 0, 0), ("3.1", "Linear", "(1, 10)", 20490, 20480)]
    assert (s.parameters, s.trainable, s.buffers, s.multiply_adds) == (20874, 20554, 65, 38912)
    assert s.parameter_bytes == 4 * 20874 and s.output_bytes == 4 * (3 * 2048 + 2048 + 10)
    assert str(s) == """\
layer  class        output         parameters  multiply-adds
------------------------------------------------------------
0      Conv2d       (1, 32, 8, 8)         320         18,432
1      BatchNorm2d  (1, 32, 8, 8)          64              -
2      ReLU         (1, 32, 8, 8)           -              -
3.0    Flatten      (1, 2048)               -              -
3.1    Linear       (1, 10)            20,490         20,480
------------------------------------------------------------
20,874 parameters (81.54 KiB), 320 of them frozen, 65 in buffers
38,912 multiply-adds; outputs 32.04 KiB"""
    assert [row[0] for row in train.summary(net, fs.zeros(1, 1, 8, 8), depth=1).rows] == ["0", "1", "2", "3"]
    assert train.summary(net, (1, 1, 8, 8), depth=1).multiply_adds == 38912
    assert net.training and fs.equal(rng, fs.get_rng_state()) and int(net[1].num_batches_tracked) == 0
    assert not net[2]._forward_hooks and not net[2]._hooked


def test_summary_of_other_models():
    class Two(nn.Module):
        """Two inputs, a shared layer, a parameter of its own, a part that does not run."""

        def __init__(self):
            super().__init__()
            self.shared, self.spare, self.scale = nn.Linear(4, 4), nn.Linear(4, 2), nn.Parameter(fs.ones(4))

        def forward(self, a, b):
            return {"sum": self.shared(a) + self.shared(b) * self.scale}

    s = train.summary(Two(), (fs.zeros(3, 4), fs.zeros(3, 4)))
    assert s.rows == [("shared", "Linear", "(3, 4)", 20, 48), ("shared", "Linear", "(3, 4)", 0, 48),
                      ("spare", "Linear", "(not run)", 10, 0), ("scale", "Parameter", "(4,)", 4, 0)]
    assert s.parameters == sum(row[3] for row in s.rows) == 34
    lstm = train.summary(nn.LSTM(4, 8, 2), (7, 2, 4))
    assert lstm.rows[0][2] == "[(7, 2, 8), [(2, 2, 8), (2, 2, 8)]]" and lstm.multiply_adds == 14 * 4 * 8 * (4 + 8 + 8 + 8)
    layer = train.summary(nn.TransformerEncoderLayer(16, 2, batch_first=True), (2, 5, 16))
    assert layer.rows[0][:2] == ("self_attn", "MultiheadAttention") and layer.parameters == sum(r[3] for r in layer.rows)
    deconv = train.summary(nn.ConvTranspose2d(3, 5, 3, groups=1), (1, 3, 4, 4))
    assert deconv.multiply_adds == 3 * 16 * 5 * 9
    half = train.summary(nn.Linear(4, 2).double(), (1, 4))
    assert half.parameter_bytes == 80
    for bad in ("text", (), ["a"]):
        with pytest.raises(TypeError, match="summary: expected a tensor"):
            train.summary(nn.Linear(4, 2), bad)
    with pytest.raises(ValueError, match="depth"):
        train.summary(nn.Linear(4, 2), (1, 4), depth=0)
    with pytest.raises(RuntimeError):
        train.summary(net := nn.Sequential(nn.Linear(4, 2)), (1, 5))
    assert not net[0]._forward_hooks


# ---- logs -----------------------------------------------------------------------------------------------------------
def test_csv(tmp_path):
    path = tmp_path / "new" / "log.csv"
    loader = DataLoader(data(), batch_size=64)
    t = make(metrics=["accuracy"])
    t.fit(loader, 2, callbacks=[train.CSVLogger(path)])
    t.fit(loader, 1, validation=loader, callbacks=[train.CSVLogger(path)])  # goes on, with figures that are new
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name, values in t.history.values.items():
        assert [float(row[name]) for row in rows if row[name]] == values
    assert rows[0]["val_loss"] == "" and os.listdir(path.parent) == ["log.csv"]


def test_jsonl(tmp_path):
    t = make()
    loader = DataLoader(data(), batch_size=64)
    t.fit(loader, 2, validation=loader, callbacks=[train.JSONLLogger(tmp_path / "log.jsonl", every=2)])
    lines = [json.loads(line) for line in open(tmp_path / "log.jsonl")]
    assert [(line["epoch"], line["step"], line.get("batch")) for line in lines] == [
        (1, 2, 2), (1, 4, 4), (1, 4, None), (2, 6, 2), (2, 8, 4), (2, 8, None)]
    assert lines[2]["val_loss"] == t.history["val_loss"][0] and lines[0]["lr"] == 0.01
    t = make()
    t.fit([(fs.full((4, 8), float("nan")), fs.zeros(4, dtype=fs.int64))], 1, callbacks=[train.JSONLLogger(tmp_path / "nan.jsonl"), train.CSVLogger(tmp_path / "nan.csv")])
    assert json.loads((tmp_path / "nan.jsonl").read_text())["loss"] is None
    assert "nan" in (tmp_path / "nan.csv").read_text()
    with pytest.raises(ValueError, match="every"):
        train.JSONLLogger("x", every=0)


def events(folder):
    """{tag: [(step, value)]} of the scalars, and the other tags, of the event files in a folder."""
    from tensorboardX.proto.event_pb2 import Event

    scalars, others, graphs = {}, set(), []
    for name in sorted(os.listdir(folder)):
        if "tfevents" not in name:
            continue
        content = (folder / name).read_bytes()
        at = 0
        while at < len(content):
            (size,) = struct.unpack("<Q", content[at : at + 8])
            event = Event.FromString(content[at + 12 : at + 12 + size])
            at += 12 + size + 4
            if event.graph_def:
                graphs.append(event.graph_def)
            for value in event.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
                else:
                    others.add(value.tag)
    return scalars, others, graphs


def test_tensorboard_logger(tmp_path):
    pytest.importorskip("tensorboardX")
    t = make(metrics=["accuracy"])
    loader = DataLoader(data(), batch_size=64)
    t.fit(loader, 2, validation=loader, callbacks=[train.TensorBoardLogger(tmp_path, every=2, histograms=True)])
    scalars, others, _ = events(tmp_path)
    assert set(scalars) == {"loss/training", "loss/validation", "accuracy/training", "accuracy/validation", "lr", "step/loss", "step/lr"}
    assert [step for step, _ in scalars["step/loss"]] == [2, 4, 6, 8]
    for tag, name in (("loss/training", "loss"), ("accuracy/validation", "val_accuracy"), ("lr", "lr")):
        assert [v for _, v in scalars[tag]] == pytest.approx(t.history[name], rel=1e-6)
    assert others == {name for name, _ in t.model.named_parameters()}


def test_summary_writer(tmp_path):
    """torch.utils.tensorboard's methods, with tensors."""
    pytest.importorskip("tensorboardX")
    from fireseed.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path / "run") as w:
        assert w.log_dir == str(tmp_path / "run")
        w.add_scalar("a", fs.tensor(1.5, requires_grad=True), 3)
        w.add_scalar("n", np.float32(2), global_step=4)
        w.add_scalars("both", {"x": fs.tensor(1.0), "y": 2.0}, 1)
        w.add_histogram("h", fs.randn(100).bfloat16(), 1)
        w.add_image("image", fs.rand(3, 8, 8), 0)
        w.add_images("images", fs.rand(2, 3, 8, 8), 0)
        w.add_text("text", "hello", 0)
        w.add_pr_curve("pr", fs.tensor([0, 1, 1]), fs.tensor([0.1, 0.6, 0.8]), 0)
        w.add_embedding(fs.randn(5, 4), metadata=list("abcde"))
        w.add_hparams({"lr": 0.1}, {"hparam/accuracy": 0.5}, name="trial")
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
        w.add_graph(net, fs.rand(1, 1, 8, 8))
    scalars, others, (graph,) = events(tmp_path / "run")
    assert scalars == {"a": [(3, 1.5)], "n": [(4, 2.0)]}
    assert {"h", "image", "pr", "text/text_summary"} <= others and any(tag.startswith("images") for tag in others)
    assert events(tmp_path / "run" / "both" / "y")[0] == {"both": [(1, 2.0)]}
    assert events(tmp_path / "run" / "trial")[0]["hparam/accuracy"] == [(0, 0.5)]
    assert (tmp_path / "run" / "projector_config.pbtxt").exists()
    from tensorboardX.proto.graph_pb2 import GraphDef

    nodes = {n.name: (n.op, list(n.input)) for n in GraphDef.FromString(graph).node}
    assert nodes["Sequential/0/Conv"] == ("Conv", ["input/0", "Sequential/0/weight", "Sequential/0/bias"])
    assert nodes["Sequential/1/Relu"][1] == ["Sequential/0/Conv"] and nodes["Sequential/3/weight"][0] == "Parameter"
    assert not net[0]._hooked


# ---- checkpoints of epochs ------------------------------------------------------------------------------------------
class Script(train.Callback):
    """Given validation losses; the bias is the number of the epoch."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, t, logs):
        logs["val_loss"] = self.values[t.epoch - 1]
        with fs.no_grad():
            t.model[0].bias.fill_(float(t.epoch))


def files_after(tmp_path, values, **options):
    saver = train.ModelCheckpoint(tmp_path / "m-{epoch}-{val_loss:.1f}.safetensors", **options)
    make().fit(DataLoader(data(64), batch_size=64), len(values), callbacks=[Script(values), saver])
    return sorted(os.listdir(tmp_path)), saver


def test_best_last_and_top_k(tmp_path):
    values = [5.0, 3.0, 4.0, math.nan, 1.0, 2.0]
    files, saver = files_after(tmp_path / "k", values, top_k=2, last=tmp_path / "k" / "last.safetensors")
    assert files == ["last.safetensors", "m-5-1.0.safetensors", "m-6-2.0.safetensors"]
    assert saver.best == 1.0 and os.path.basename(saver.best_path) == "m-5-1.0.safetensors"
    assert fs.load(saver.best_path)["0.bias"][0] == 5.0
    assert fs.load(tmp_path / "k" / "last.safetensors")["0.bias"][0] == 6.0
    files, saver = files_after(tmp_path / "max", values, top_k=2, mode="max", monitor="val_loss")
    assert files == ["m-1-5.0.safetensors", "m-3-4.0.safetensors"]
    assert len(files_after(tmp_path / "best", values)[0]) == 3  # each that was better than all before
    assert len(files_after(tmp_path / "all", values, save_best_only=False)[0]) == 6
    with pytest.raises(ValueError, match=r"needs \{epoch\}"):
        train.ModelCheckpoint("model.safetensors", top_k=2)
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        train.ModelCheckpoint("model.safetensors", top_k=0)
    with pytest.raises(KeyError, match="no figure 'val_acc' to monitor"):
        make().fit(DataLoader(data(64), batch_size=64), 1, callbacks=[train.ModelCheckpoint("x", monitor="val_acc")])
