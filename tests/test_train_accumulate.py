"""Accumulation and micro-batches: the gradients, losses and steps of parts are those of the whole batch."""

from functools import partial

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn, train
from hypothesis import given, settings
from hypothesis import strategies as st

F = nn.functional
N, C = 23, 4


def classes(ignored=()):
    """N samples of 5 features with classes; those at `ignored` count for nothing."""
    g = fs.Generator().manual_seed(3)
    x, y = fs.randn(N, 5, generator=g), fs.randint(0, C, (N,), generator=g)
    for i in ignored:
        y[i] = -100
    return x, y


def numbers():
    g = fs.Generator().manual_seed(4)
    return fs.randn(N, 5, generator=g), fs.randn(N, C, generator=g)


def yes_no():
    x, y = numbers()
    return x, (y > 0).float()


def probabilities():
    x, y = numbers()
    return x, y.softmax(1)


WEIGHT = fs.tensor([0.1, 2.0, 1.0, 5.0])
LOSSES = {
    "cross entropy": (nn.CrossEntropyLoss(), classes),
    "sum": (nn.CrossEntropyLoss(reduction="sum"), classes),
    "class weights": (nn.CrossEntropyLoss(weight=WEIGHT), classes),
    "class weights, ignore_index": (nn.CrossEntropyLoss(weight=WEIGHT), partial(classes, (0, 1, 2, 3, 7, 20))),
    "ignore_index 2, smoothing": (nn.CrossEntropyLoss(WEIGHT, ignore_index=2, label_smoothing=0.1), classes),
    "probabilities": (nn.CrossEntropyLoss(weight=WEIGHT), probabilities),
    "function": (F.cross_entropy, partial(classes, (4, 5, 6, 7))),
    "partial": (partial(F.cross_entropy, weight=WEIGHT, ignore_index=1), classes),
    "partial sum": (partial(F.mse_loss, reduction="sum"), numbers),
    "mse": (nn.MSELoss(), numbers),
    "huber": (F.huber_loss, numbers),
    "bce": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), yes_no),
    "own": (lambda y, t: (y - t).abs().sum(1).mean(), numbers),
    "multi margin": (nn.MultiMarginLoss(), classes),
}


def loader(data, size):
    return [[t[i : i + size] for t in data] for i in range(0, N, size)]


def run(loss, data, size, **options):
    """A Trainer after one epoch of one step; its gradients are recorded before the step."""
    fs.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, C)).double()
    data = [t.double() if t.is_floating_point() else t for t in data]
    if isinstance(loss, nn.Module):
        loss.double()
    t = train.Trainer(net, fs.optim.SGD(net.parameters(), lr=0.1), loss, progress=False, lint=False, **options)

    class Record(train.Callback):
        def on_step_start(self, t):
            grads.append([p.grad.clone() for p in t.model.parameters()])

    grads = []
    t.fit(loader(data, size), 1, callbacks=[Record()])
    return t, grads


def assert_same(a, b):
    a, b = list(a), list(b)
    assert len(a) == len(b)
    for x, y in zip(a, b):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_parts_are_the_whole(name):
    """The batch of 23 at once, as batches of 5 (5 + 5 + 5 + 5 + 3), and in micro-batches of 7."""
    loss, make = LOSSES[name]
    data = [t.double() if t.is_floating_point() else t for t in make()]
    if isinstance(loss, partial) and "weight" in loss.keywords:
        loss = partial(loss, weight=WEIGHT.double())
    whole, (grads,) = run(loss, data, N)
    ways = ({"size": 5, "accumulate": 5}, {"size": N, "micro_batch": 7}, {"size": 12, "accumulate": 2, "micro_batch": 5})
    for options in ways:
        parts, (got,) = run(loss, data, **options)
        assert_same(got, grads)
        assert_same(parts.model.parameters(), whole.model.parameters())
        assert parts.history["loss"][0] == pytest.approx(whole.history["loss"][0], rel=1e-9)
        assert parts.step == 1
    expected = whole.validate(loader(data, N))["loss"]
    for size in (1, 5):
        assert whole.validate(loader(data, size))["loss"] == pytest.approx(expected, rel=1e-9)


def test_the_reported_loss_is_pytorchs():
    """Of a mean: the loss of all samples at once; of a sum: that per sample."""
    x, y = classes((1, 5))
    net = nn.Linear(5, C)
    for loss, expected in (
        (nn.CrossEntropyLoss(WEIGHT), nn.CrossEntropyLoss(WEIGHT)(net(x), y).item()),
        (nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss(reduction="sum")(net(x), y).item() / N),
    ):
        assert train.Trainer(net, loss=loss.float()).validate(loader((x, y), 4))["loss"] == pytest.approx(expected, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.sampled_from(sorted(LOSSES)))
def test_any_split(sizes, name):
    """loss_weight in a loop by hand: random uneven parts give the gradient of all to 1e-6 in float32."""
    loss, make = LOSSES[name]
    if isinstance(loss, nn.Module):
        loss.float()
    x, y = (t[: sum(sizes)] for t in make())
    fs.manual_seed(0)
    net = nn.Linear(5, C)
    parts, weights, at = [fs.zeros(C, 5), fs.zeros(C)], 0.0, 0
    for size in sizes:
        if at >= len(x):
            break
        out, target = net(x[at : at + size]), y[at : at + size]
        weight = train.loss_weight(loss, out, target)
        at += size
        if weight == 0:
            continue
        value = loss(out, target)
        grads = fs.autograd.grad(value if weight is None else value * weight, list(net.parameters()))
        parts = [a + g for a, g in zip(parts, grads)]
        weights += 1.0 if weight is None else weight
    if not weights:
        return
    if train.loss_weight(loss, out, target) is None:
        weights = 1.0
    whole = fs.autograd.grad(loss(net(x), y), list(net.parameters()))
    for a, b in zip(parts, whole):
        assert float((a / weights - b).norm()) <= 1e-6 * max(float(b.norm()), 1.0)


def test_parts_without_weight():
    """Batches whose targets are all ignored add nothing, not NaN."""
    x, y = classes(range(10))
    t, grads = run(nn.CrossEntropyLoss(), (x, y), 5, accumulate=5)
    whole, whole_grads = run(nn.CrossEntropyLoss(), (x, y), N)
    assert_same(grads[0], whole_grads[0])
    fs.manual_seed(0)
    net = nn.Linear(5, C)
    before = net.weight.detach().clone()
    t = train.Trainer(net, fs.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss(), accumulate=2, progress=False, lint=False)
    history = t.fit(loader(classes(range(N)), 5), 1)
    assert fs.equal(net.weight, before) and np.isnan(history["loss"][0])


def test_steps_left_over():
    """4 batches, accumulate=3: the last step is of one batch, which counts as itself and not as a third."""
    x, y = numbers()
    t, (_, last) = run(nn.MSELoss(), (x[:13], y[:13]), 4, accumulate=3)
    assert t.step == 2
    x, y = x[:13].double(), y[:13].double()
    fs.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, C)).double()
    opt = fs.optim.SGD(net.parameters(), lr=0.1)
    F.mse_loss(net(x[:12]), y[:12]).backward()
    opt.step()
    opt.zero_grad()
    F.mse_loss(net(x[12:]), y[12:]).backward()
    assert_same(last, [p.grad for p in net.parameters()])


def test_penalty_and_clipping_once():
    """L1, L2 and clipping see the joined gradient."""
    x, y = numbers()
    options = {"l1": 0.01, "l2": 0.1, "clip_norm": 0.05}
    whole, (grads,) = run(nn.MSELoss(), (x, y), N, **options)
    parts, (got,) = run(nn.MSELoss(), (x, y), 5, accumulate=5, **options)
    assert_same(got, grads)
    total = sum(float((g * g).sum()) for g in got) ** 0.5
    assert total == pytest.approx(0.05, rel=1e-4)
    _, (clamped,) = run(nn.MSELoss(), (x, y), 5, accumulate=5, clip_value=0.01)
    assert max(float(g.abs().max()) for g in clamped) == pytest.approx(0.01)


def test_weights_of_ones_own():
    """forward may say what the loss was divided by: a loss per token, padding left out."""

    class Tokens(train.Trainer):
        def forward(self, batch):
            x, y = batch
            out, n = self.model(x), (y >= 0).sum().item()
            return F.cross_entropy(out, y, ignore_index=-1, reduction="sum") / n, out, y, n

    x, y = classes()
    y[:7] = -1
    nets = []
    for size, accumulate in ((N, 1), (4, 6)):
        fs.manual_seed(0)
        net = nn.Linear(5, C)
        t = Tokens(net, fs.optim.SGD(net.parameters(), lr=1.0), accumulate=accumulate, progress=False)
        data = loader((x, y), size) if size == N else [b for b in loader((x, y), size) if int((b[1] >= 0).sum())]
        t.fit(data, 1)
        nets.append(net)
    assert fs.allclose(nets[0].weight, nets[1].weight, atol=1e-6)


def test_lbfgs():
    """An optimizer that evaluates the loss several times a step, also in micro-batches."""
    x, _ = numbers()
    y = x @ fs.randn(5, C)
    results = []
    for options in ({}, {"micro_batch": 5}):
        fs.manual_seed(0)
        net = nn.Linear(5, C)
        t = train.Trainer(net, fs.optim.LBFGS(net.parameters(), lr=1.0, line_search_fn="strong_wolfe"), nn.MSELoss(), progress=False, **options)
        history = t.fit(loader((x, y), N), 5)
        assert history["loss"][-1] < 1e-4 * history["loss"][0] and t.step == 5
        results.append(history["loss"])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-9)
    with pytest.raises(ValueError, match="LBFGS evaluates the loss several times"):
        train.Trainer(net, fs.optim.LBFGS(net.parameters()), nn.MSELoss(), accumulate=2, progress=False).fit(loader((x, y), N), 1)


def test_micro_batches_of_nested_batches():
    """Dicts and tuples are cut; what is not per sample goes to every part."""

    class Dicts(train.Trainer):
        def forward(self, batch):
            sizes.append(len(batch["x"]))
            out = self.model(batch["x"]) * batch["scale"]
            return self.loss(out, batch["y"][0]), out, batch["y"][0]

    sizes = []
    x, y = numbers()
    net = nn.Linear(5, C)
    t = Dicts(net, fs.optim.SGD(net.parameters(), lr=0.1), nn.MSELoss(), micro_batch=10, progress=False)
    t.fit([{"x": x, "y": (y, "name"), "scale": fs.tensor(2.0)}], 1)
    assert sizes == [10, 10, 3]
