"""The training linter: a planted mistake for every rule, and silence on what is right."""

import warnings

import fireseed as fs
import pytest
from fireseed import nn, train
from fireseed.utils.data import DataLoader, TensorDataset

F = nn.functional


def data(n=32):
    g = fs.Generator().manual_seed(0)
    return fs.randn(n, 4, generator=g), fs.randint(0, 3, (n,), generator=g)


def net(*more, classes=3):
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, classes), *more)


def sgd(model, lr=0.1):
    return fs.optim.SGD(model.parameters(), lr=lr)


def rules(*args, **kwargs):
    return [finding.rule for finding in train.lint(*args, **kwargs)]


class Branch(nn.Module):
    """A second layer that forward does not use."""

    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.used(x)


class Hidden(nn.Module):
    """Layers in a plain list, a parameter in a dict, a plain tensor."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.layers = [nn.Linear(3, 3)]
        self.scales = {"a": nn.Parameter(fs.ones(1))}
        self.shift = fs.zeros(3, requires_grad=True)

    def forward(self, x):
        return self.layers[0](self.first(x)) * self.scales["a"] + self.shift


class Cut(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x).detach()


def partly_held():
    m = net()
    return m, fs.optim.SGD(m[0].parameters(), lr=0.1)


def planted():
    """(rule, arguments of lint)"""
    x, y = data()
    ce, m = nn.CrossEntropyLoss(), net()
    yes = (y > 0).float().unsqueeze(1)
    one = net(classes=1)
    frozen = net().requires_grad_(False)
    dead = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    with fs.no_grad():
        dead[0].bias.fill_(-1e3)
    nan = x.clone()
    nan[0, 0] = float("nan")
    broken = net()
    with fs.no_grad():
        broken[0].weight.fill_(float("inf"))
    return [
        ("softmax_before_cross_entropy", net(nn.Softmax(1)), sgd, ce, (x, y)),
        ("softmax_before_cross_entropy", net(nn.Softmax(1), nn.Unflatten(1, (3, 1)), nn.Flatten()), sgd, F.cross_entropy, (x, y)),
        ("sigmoid_before_cross_entropy", net(nn.Sigmoid()), sgd, ce, (x, y)),
        ("sigmoid_before_logits_loss", net(nn.Sigmoid(), classes=1), sgd, nn.BCEWithLogitsLoss(), (x, yes)),
        ("no_sigmoid", one, sgd, nn.BCELoss(), (x, yes)),
        ("no_log_softmax", m, sgd, nn.NLLLoss(), (x, y)),
        ("no_log_softmax", net(nn.Softmax(1)), sgd, nn.NLLLoss(), (x, y)),
        ("relu_at_the_end", net(nn.ReLU()), sgd, ce, (x, y)),
        ("relu_at_the_end", net(nn.ReLU()), sgd, nn.MSELoss(), (x, -fs.ones(32, 3))),
        ("missing_parameters", *partly_held(), ce, (x, y)),
        ("foreign_parameters", net(), sgd(net()), ce, (x, y)),
        ("unused_parameters", Branch(), sgd, ce, (x, y)),
        ("unregistered", Hidden(), sgd, ce, (x, y)),
        ("frozen", frozen, None, ce, (x, y)),
        ("loss_broadcast", one, sgd, nn.MSELoss(), (x, y.float())),
        ("loss_broadcast", one, sgd, F.l1_loss, (x, y.float())),
        ("labels_out_of_range", m, sgd, ce, (x, y + 1)),
        ("labels_out_of_range", m, sgd, ce, (x, y - 1)),
        ("labels_out_of_range", one, sgd, nn.BCEWithLogitsLoss(), (x, yes * 2 - 1)),
        ("one_class", one, sgd, ce, (x, fs.zeros(32, dtype=fs.int64))),
        ("target_no_distribution", m, sgd, ce, (x, fs.randn(32, 3))),
        ("eval_mode", net().eval(), sgd, ce, (x, y)),
        ("zero_lr", m, sgd(m, 0.0), ce, (x, y)),
        ("large_lr", m, fs.optim.Adam(m.parameters(), lr=1.0), ce, (x, y)),
        ("unscaled_input", m, sgd, ce, (x * 200, y)),
        ("input_not_finite", m, sgd, ce, (nan, y)),
        ("output_not_finite", broken, sgd, ce, (x, y)),
        ("dead_relu", dead, sgd, ce, (x, y)),
        ("graph_cut", Cut(), sgd, ce, (x, y)),
        ("graph_cut", m, sgd, lambda o, t: (o.argmax(1) == t).float().mean(), (x, y)),
        ("loss_not_scalar", m, sgd, nn.CrossEntropyLoss(reduction="none"), (x, y)),
        ("loss_no_tensor", m, sgd, lambda o, t: F.cross_entropy(o, t).item(), (x, y)),
        ("zero_gradients", m, sgd, lambda o, t: (o * 0).sum() + 1, (x, y)),
        ("gradient_not_finite", m, sgd, lambda o, t: (o * 0).sqrt().sum(), (x, y)),
        ("loss_fails", m, sgd, nn.MSELoss(), (x, fs.zeros(32, 5))),
    ]


@pytest.mark.parametrize("case", range(len(planted())))
def test_planted(case):
    rule, model, optimizer, loss, batch = planted()[case]
    optimizer = optimizer(model) if callable(optimizer) else optimizer
    findings = train.lint(model, optimizer, loss, batch)
    assert rule in [f.rule for f in findings]
    for finding in findings:
        assert finding.message and finding.fix and str(finding).endswith(f"[{finding.rule}]")


def test_messages():
    """A few of them, whole: what is, and what to do."""
    (finding,) = train.lint(*partly_held())
    assert str(finding) == ("The optimizer does not have 2 trainable parameter(s) of the model: 2.weight, 2.bias. They stay as they "
                            "are. Give it model.parameters(), add them with add_param_group, or freeze them with "
                            "requires_grad_(False). [missing_parameters]")
    x, y = data()
    m = net()
    finding = next(f for f in train.lint(m, sgd(m), nn.CrossEntropyLoss(), (x, y + 1)) if f.rule == "labels_out_of_range")
    assert str(finding) == ("The labels of this batch go from 1 to 3, but the model has 3 outputs. Classes count from 0: "
                            "subtract 1 from the labels. [labels_out_of_range]")
    found = [f.message for f in train.lint(Hidden()) if f.rule == "unregistered"]
    assert len(found) == 3 and "`layers` is a list of modules" in found[0] and "`shift` is a plain tensor" in found[2]


# ---- a step of one's own --------------------------------------------------------------------------------------------
def steps(model, optimizer, clear=True, move=True, backward=True, clip=False, scale=1.0):
    def step(batch):
        if clear:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        if backward:
            (loss * scale).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 1e-2)
        if move:
            optimizer.step()

    return step


@pytest.mark.parametrize("options,rule", [
    ({"clear": False}, "no_zero_grad"), ({"clear": False, "clip": True}, "no_zero_grad"), ({"move": False}, "no_step"),
    ({"backward": False}, "nothing_moves"), ({}, None), ({"clip": True}, None), ({"scale": 0.25}, None),
])
def test_own_step(options, rule):
    m = net(nn.Dropout(0.5))
    opt = fs.optim.Adam(m.parameters(), lr=1e-2)
    found = rules(m, opt, batch=data(), step=steps(m, opt, **options))
    assert found == ([rule] if rule else [])


def test_own_step_with_accumulation():
    m = net()
    opt = sgd(m)

    def step(batch):
        for part in range(2):
            F.cross_entropy(m(batch[0][part::2]), batch[1][part::2]).backward()
        opt.step()
        opt.zero_grad(set_to_none=False)

    assert rules(m, opt, batch=data(), step=step) == []


def test_lint_changes_nothing():
    fs.manual_seed(0)
    m = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    opt = fs.optim.Adam(m.parameters(), lr=1e-2)
    batch = data()
    steps(m, opt)(batch)
    before = {k: v.clone() for k, v in m.state_dict().items()}
    grads = [p.grad.clone() for p in m.parameters()]
    hooked = [x._hooked for x in m.modules()]
    rng = fs.get_rng_state()
    train.lint(m, opt, nn.CrossEntropyLoss(), batch, step=steps(m, opt))
    assert all(fs.equal(v, before[k]) for k, v in m.state_dict().items())
    assert all(fs.equal(p.grad, g) for p, g in zip(m.parameters(), grads))
    assert fs.equal(rng, fs.get_rng_state()) and [x._hooked for x in m.modules()] == hooked
    twin = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    fs.manual_seed(0)
    for layer in twin:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    opt2 = fs.optim.Adam(twin.parameters(), lr=1e-2)
    steps(twin, opt2)(batch)
    steps(twin, opt2)(batch)
    fs.set_rng_state(rng)
    steps(m, opt)(batch)
    assert all(fs.equal(a, b) for a, b in zip(m.parameters(), twin.parameters()))


# ---- in the Trainer -------------------------------------------------------------------------------------------------
def warned(model, loss, batches, optimizer=None, **options):
    """The rules that two fits warn of, and where the warnings point."""
    t = train.Trainer(model, optimizer or sgd(model), loss, progress=False, **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        t.fit(batches, 2)
        t.fit(batches, 1)
    caught = [w for w in caught if issubclass(w.category, train.LintWarning)]
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message).rpartition("[")[2][:-1] for w in caught]


def test_trainer_warns_once():
    batch, ce = data(), nn.CrossEntropyLoss()
    assert warned(net(nn.Softmax(1)), ce, [batch] * 2) == ["softmax_before_cross_entropy"]
    assert warned(net(nn.Softmax(1)), ce, [batch] * 2, lint=False) == []
    assert warned(net(), ce, [batch], *partly_held()[1:]) == ["foreign_parameters"]
    m, opt = partly_held()
    assert warned(m, ce, [batch], opt) == ["missing_parameters"]
    assert warned(Branch(), ce, [batch], accumulate=2) == ["unused_parameters"]
    assert warned(net().eval(), ce, [batch]) == []  # the Trainer trains in training mode all the same
    x = fs.randn(32, 4)
    ordered = DataLoader(TensorDataset(x, fs.arange(32) // 11), batch_size=8)
    assert warned(net(), ce, ordered) == ["sorted_data"]
    assert warned(net(), ce, DataLoader(ordered.dataset, batch_size=8, shuffle=True)) == []


def test_trainer_warns_before_the_error():
    x, y = data()
    t = train.Trainer(m := net(), sgd(m), nn.CrossEntropyLoss(), progress=False)
    with pytest.warns(train.LintWarning, match="subtract 1 from the labels"), pytest.raises(IndexError):
        t.fit([(x, y + 1)], 1)
    for loss, error, text in ((nn.CrossEntropyLoss(reduction="none"), ValueError, "reduction='mean'"),
                              (lambda o, t: F.cross_entropy(o, t).item(), TypeError, "without item")):
        with pytest.warns(train.LintWarning), pytest.raises(error, match=text):
            train.Trainer(m, sgd(m), loss, progress=False).fit([(x, y)], 1)


def test_silent_on_what_is_right():
    """Ordinary models and losses; frozen parts, partial optimizers of several groups, log_softmax, embeddings."""
    x, y = data()
    yes = (y > 0).float().unsqueeze(1)
    frozen = net()
    frozen[0].requires_grad_(False)
    groups = net()
    good = [
        (net(), None, nn.CrossEntropyLoss(), (x, y)),
        (net(), None, nn.CrossEntropyLoss(ignore_index=0), (x, y)),
        (net(nn.LogSoftmax(1)), None, nn.NLLLoss(), (x, y)),
        (net(classes=1), None, nn.BCEWithLogitsLoss(), (x, yes)),
        (net(nn.Sigmoid(), classes=1), None, nn.BCELoss(), (x, yes)),
        (net(classes=1), None, nn.MSELoss(), (x, yes)),
        (net(nn.ReLU(), classes=1), None, nn.MSELoss(), (x, yes + 1)),
        (net(nn.Flatten(0), classes=1), None, nn.HuberLoss(), (x, yes[:, 0])),
        (net(), None, nn.CrossEntropyLoss(), (x, F.one_hot(y, 3).float())),
        (frozen, fs.optim.SGD([p for p in frozen.parameters() if p.requires_grad], lr=0.1), nn.CrossEntropyLoss(), (x, y)),
        (groups, fs.optim.AdamW([{"params": groups[0].parameters()}, {"params": groups[2].parameters(), "lr": 0.0}]), nn.CrossEntropyLoss(), (x, y)),
        (nn.Sequential(nn.Embedding(500, 4), nn.Flatten(), nn.Linear(12, 3)), None, nn.CrossEntropyLoss(), (fs.randint(0, 500, (32, 3)), y)),
        (nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3)), None, nn.CrossEntropyLoss(), (x * 255, y)),
        (nn.Sequential(nn.Conv1d(4, 3, 1)), None, nn.CrossEntropyLoss(), (fs.randn(8, 4, 5), fs.randint(0, 3, (8, 5)))),
    ]
    for model, optimizer, loss, batch in good:
        optimizer = optimizer or sgd(model)
        assert train.lint(model, optimizer, loss, batch) == []
        assert warned(model, loss, [batch], optimizer) == []


def test_bad_calls():
    with pytest.raises(ValueError, match="needs a batch"):
        train.lint(net(), None, nn.CrossEntropyLoss())
    with pytest.raises(TypeError, match="expected a batch"):
        train.lint(net(), None, nn.CrossEntropyLoss(), fs.zeros(3, 4))
