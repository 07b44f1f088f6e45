"""Trainer with mixed precision, beside the same loops written by hand."""

import math

import fireseed as fs
import pytest
from fireseed import nn, train

pytest.importorskip("fireseed.amp")
pytestmark = pytest.mark.filterwarnings("error")  # the linter has nothing to say of scaled gradients
from fireseed.amp import GradScaler, autocast  # noqa: E402


def data():
    g = fs.Generator().manual_seed(1)
    x = fs.randn(48, 8, generator=g)
    y = x[:, :3].argmax(1)
    return [(x[i : i + 16], y[i : i + 16]) for i in range(0, 48, 16)]


def network():
    fs.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    return net, fs.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def make(**options):
    net, opt = network()
    return train.Trainer(net, opt, nn.CrossEntropyLoss(), progress=False, **options)


def same(a, b):
    return all(fs.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_same_as_by_hand(precision):
    """The same bits, with clipping; the parameters stay float32, and the result is another than in float32."""
    t = make(precision=precision, clip_norm=0.3)
    t.fit(data(), 4)
    net, opt = network()
    scaler = GradScaler("cpu", enabled=precision == "float16")
    for _ in range(4):
        for x, y in data():
            with autocast("cpu", getattr(fs, precision)):
                loss = nn.functional.cross_entropy(net(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(net.parameters(), 0.3)
            scaler.step(opt)
            scaler.update()
            opt.zero_grad()
    assert same(t.model, net) and all(p.dtype == fs.float32 for p in net.parameters())
    full = make(clip_norm=0.3)
    full.fit(data(), 4)
    assert not same(full.model, net) and t.history["loss"][-1] == pytest.approx(full.history["loss"][-1], rel=0.05)
    assert (t.scaler is None) == (precision == "bfloat16") and full.scaler is None
    with autocast("cpu", getattr(fs, precision)), fs.no_grad():
        expected = net(data()[0][0])
    assert fs.equal(t.predict(data()[0][0]), expected)
    scores = t.validate(data())
    assert scores["loss"] == pytest.approx(t.validate(data())["loss"]) and scores["loss"] < 1


def test_auto():
    assert make(precision="auto")._autocast.fast_dtype == fs.bfloat16
    with pytest.raises(ValueError, match="precision must be None, 'auto', 'bfloat16' or 'float16', got 'half'"):
        make(precision="half")


def test_accumulation():
    """Parts are weighted before the scale is taken out; steps without any weight are no steps."""
    whole, parts = make(precision="float16"), make(precision="float16", accumulate=3)
    whole.fit([(fs.cat([x for x, _ in data()]), fs.cat([y for _, y in data()]))], 1)
    parts.fit(data(), 1)
    for p, q in zip(whole.model.parameters(), parts.model.parameters()):
        assert fs.allclose(p, q, atol=2e-4)
    ignored = [(x, fs.full((16,), -100)) for x, _ in data()]
    before = [p.detach().clone() for p in parts.model.parameters()]
    parts.optimizer = fs.optim.SGD(parts.model.parameters(), lr=0.1)
    parts.fit(ignored, 1)
    assert all(fs.equal(p, q) for p, q in zip(parts.model.parameters(), before))
    parts.fit(data(), 1)


def test_overflow_skips_the_step():
    """A scale that is far too large: steps are skipped and the scale is halved until they are not."""
    t = make(precision="float16")
    t.scaler = GradScaler("cpu", init_scale=2.0**40)
    before = t.model[0].weight.detach().clone()
    t.fit(data(), 1)
    assert t.scaler.get_scale() == 2.0**37 and fs.equal(before, t.model[0].weight)
    t.fit(data(), 12)
    assert not fs.equal(before, t.model[0].weight) and all(map(math.isfinite, t.history["loss"]))


def test_interrupted_step():
    class Interrupt(train.Callback):
        def on_step_start(self, t):
            raise KeyboardInterrupt

    t = make(precision="float16")
    assert t.fit(data(), 1, callbacks=[Interrupt()]).stopped == "interrupted"
    assert t.fit(data(), 1).stopped == "finished"


def test_resume_and_looks(tmp_path):
    """The scaler is part of the saved state, and lr_find puts it back."""

    class Crash(train.Callback):
        def on_batch_end(self, t, logs):
            if t.step == 4:
                raise RuntimeError("lights out")

    def start(folder, callbacks=()):
        t = make(precision="float16")
        t.scaler = GradScaler("cpu", init_scale=2.0**30, growth_interval=2)
        t.resume(folder, data(), 3, callbacks=callbacks, every=1)
        return t

    whole = start(tmp_path / "a")
    with pytest.raises(RuntimeError, match="lights"):
        start(tmp_path / "b", [Crash()])
    again = start(tmp_path / "b")
    assert same(whole.model, again.model) and whole.scaler.state_dict() == again.scaler.state_dict()
    state, weights = whole.scaler.state_dict(), [p.detach().clone() for p in whole.model.parameters()]
    whole.lr_find(data(), steps=20)
    assert whole.scaler.state_dict() == state and all(fs.equal(p, q) for p, q in zip(whole.model.parameters(), weights))


def test_lbfgs():
    net, _ = network()
    for precision, fails in (("bfloat16", False), ("float16", True)):
        t = train.Trainer(net, fs.optim.LBFGS(net.parameters(), max_iter=3), nn.CrossEntropyLoss(), precision=precision, progress=False)
        if fails:
            with pytest.raises(ValueError, match="LBFGS .* does not go with float16; use precision='bfloat16'"):
                t.fit(data(), 1)
        else:
            t.fit(data(), 1)
