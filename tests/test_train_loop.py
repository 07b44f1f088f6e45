"""Trainer: events, modes, interrupted and failing runs, odd data; what a beginner gets told."""

import functools
import warnings

import fireseed as fs
import pytest
from fireseed import nn, train
from fireseed.utils.data import DataLoader, IterableDataset, TensorDataset


def data(n=32):
    g = fs.Generator().manual_seed(2)
    x = fs.randn(n, 4, generator=g)
    return TensorDataset(x, x[:, :3].argmax(1))


def make(net=None, lr=0.1, **options):
    fs.manual_seed(0)
    net = net or nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    return train.Trainer(net, fs.optim.SGD(net.parameters(), lr=lr), nn.CrossEntropyLoss(), progress=False, **options)


class Log(train.Callback):
    """Every event with the counters at that time."""

    def __init__(self):
        self.events = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return functools.partial(self.note, name[3:])
        return super().__getattribute__(name)

    def note(self, name, t, *_):
        self.events.append((name, t.epoch, t.batch, t.step, t.model[0].weight.grad is not None))


def test_events_and_counters():
    """3 batches, accumulate=2: the step comes inside the batch that completes it, a last one after the batches."""
    log = Log()
    make(accumulate=2).fit(DataLoader(data(12), batch_size=4), 1, [next(iter(DataLoader(data(), batch_size=8)))], [log])
    assert log.events == [
        ("fit_start", 0, 0, 0, False), ("epoch_start", 1, 0, 0, False),
        ("batch_start", 1, 1, 0, False), ("batch_end", 1, 1, 0, True),
        ("batch_start", 1, 2, 0, True), ("step_start", 1, 2, 0, True), ("step_end", 1, 2, 1, False), ("batch_end", 1, 2, 1, False),
        ("batch_start", 1, 3, 1, False), ("batch_end", 1, 3, 1, True), ("step_start", 1, 3, 1, True), ("step_end", 1, 3, 2, False),
        ("validation_start", 1, 3, 2, False), ("validation_end", 1, 3, 2, False), ("epoch_end", 1, 3, 2, False), ("fit_end", 1, 3, 2, False)]


def test_gradients_seen_by_callbacks_are_those_of_the_step():
    class Look(train.Callback):
        def on_step_start(self, t):
            self.norm = nn.utils.get_total_norm([p.grad for p in t.model.parameters()]).item()

        def on_epoch_end(self, t, logs):
            logs["grad_norm"] = self.norm  # figures of one's own: other callbacks see them

    look = Look()
    seen = []

    class After(train.Callback):
        def on_epoch_end(self, t, logs):
            seen.append(logs["grad_norm"])

    make(clip_norm=0.01).fit(DataLoader(data(), batch_size=8), 1, callbacks=(look, After()))
    assert seen == [pytest.approx(0.01, rel=1e-3)]
    make().fit(DataLoader(data(), batch_size=8), 1, callbacks=look)  # one callback needs no list


class Fail(train.Callback):
    """Raises in a given event of epoch 3; the bias tells the epoch, the best is 2."""

    def __init__(self, event, error):
        setattr(self, event, self.fail)
        self.error = error

    def on_epoch_start(self, t):
        with fs.no_grad():
            t.model[3].bias.fill_(float(t.epoch))
        self.epoch = t.epoch

    def fail(self, t, *_):
        if t.epoch == 3:
            raise self.error("now")


class Scripted(train.Callback):
    def on_epoch_end(self, t, logs):
        logs["val_loss"] = [3.0, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0][t.epoch - 1]


EVENTS = ["on_batch_start", "on_batch_end", "on_step_start", "on_step_end", "on_validation_start", "on_validation_end", "on_epoch_end"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_best_weights_whatever_ended_the_run(event, error):
    """Ctrl-C and exceptions in any event: the best weights are back, gradients gone, modes as before."""
    t = make(lr=0.0, accumulate=3)
    loader = DataLoader(data(), batch_size=8)
    run = functools.partial(t.fit, loader, 7, loader, [Scripted(), train.EarlyStopping("val_loss", patience=9), Fail(event, error)])
    if error is KeyboardInterrupt:
        assert run() is t.history
    else:
        with pytest.raises(error, match="now"):
            run()
    assert t.history.stopped == ("interrupted" if error is KeyboardInterrupt else "failed")
    assert t.model[3].bias[0].item() == 2.0 and t.history.best_epoch == 2
    assert all(p.grad is None for p in t.model.parameters()) and all(m.training for m in t.model.modules())
    t.fit(loader, 1)  # and it can go on
    assert t.history.stopped == "finished"


def test_an_error_in_the_model():
    class Break(nn.Module):
        def forward(self, x):
            if x.shape[0] < 8:
                raise RuntimeError("too few")
            return x

    t = make(nn.Sequential(nn.Linear(4, 3), Break()))
    with pytest.raises(RuntimeError, match="too few"):
        t.fit(DataLoader(data(20), batch_size=8), 2, callbacks=[train.EarlyStopping("loss")])
    assert t.history.stopped == "failed" and t.epoch == 0


def test_all_callbacks_end():
    """on_fit_end of every callback runs even if one raises."""
    ended = []

    class End(train.Callback):
        def __init__(self, fails):
            self.fails = fails

        def on_fit_end(self, t):
            ended.append(self.fails)
            if self.fails:
                raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make().fit(DataLoader(data(), batch_size=8), 1, callbacks=[End(True), End(False)])
    assert ended == [True, False]


def test_stop_inside_an_epoch():
    class Stop(train.Callback):
        def on_batch_end(self, t, logs):
            if t.batch == 2 and t.epoch == 2:
                t.stop = "time is up"

    t = make()
    history = t.fit(DataLoader(data(), batch_size=8), 5, callbacks=[Stop()])
    assert history.stopped == "time is up" and history.epochs == 2 and t.step == 6
    t = make(lr=float("inf"))
    history = t.fit(DataLoader(data(), batch_size=8), 5, callbacks=[train.StopOnNaN()])
    assert history.stopped == "the loss became nan in epoch 1, batch 2"


def test_modes():
    """Frozen parts stay frozen in training; validation and prediction leave every mode as it was."""
    t = make()
    norm = t.model[1]
    norm.eval()
    mean = norm.running_mean.clone()
    loader = DataLoader(data(), batch_size=8)
    t.fit(loader, 2, validation=loader)
    assert not norm.training and t.model.training and fs.equal(mean, norm.running_mean)
    t.predict(loader)
    assert not norm.training and t.model[0].training
    norm.train()
    t.model.eval()  # forgotten: fit trains all the same, and leaves it so
    t.fit(loader, 1)
    assert not t.model.training and not norm.training and not fs.equal(mean, norm.running_mean)


def test_schedulers_with_figures():
    """ReduceLROnPlateau by the validation loss, by the loss, and per step; OneCycle per step."""
    loader = DataLoader(data(), batch_size=8)
    plateau = functools.partial(fs.optim.lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=0, threshold=10.0)
    for options in ({}, {"schedule": "batch"}):
        t = make(**options)
        t.scheduler = plateau(t.optimizer)
        t.fit(loader, 3, validation=loader)
        assert t.optimizer.param_groups[0]["lr"] == 0.1 * 0.5 ** (12 if options else 3)
    t = make(schedule="batch", accumulate=2)
    t.scheduler = fs.optim.lr_scheduler.OneCycleLR(t.optimizer, 0.1, total_steps=7)
    t.fit(loader, 3)
    assert t.scheduler.last_epoch == 6 and t.optimizer.param_groups[0]["lr"] < 1e-4


def test_odd_data():
    t = make()
    generator = (batch for batch in [next(iter(DataLoader(data(), batch_size=8)))])
    with pytest.raises(ValueError, match="it is used up: give a list or a DataLoader"):
        t.fit(generator, 2)
    with pytest.raises(ValueError, match="validate: the data gave no batches"):
        t.validate([])
    with pytest.raises(ValueError, match="predict: the data gave no batches"):
        t.predict([])
    with pytest.warns(UserWarning, match="another order than the samples"):
        t.predict(DataLoader(data(), batch_size=8, shuffle=True))
    with pytest.raises(TypeError, match="got a dict; override Trainer.forward"):
        t.fit([{"x": fs.zeros(4, 4)}], 1)


def test_predict_structures():
    class Many(nn.Module):
        def forward(self, x):
            return {"a": x, "b": (x.sum(1), [x[:, :1]])}

    t = train.Trainer(Many())
    out = t.predict([fs.ones(2, 3), fs.zeros(1, 3)], has_target=False)
    assert out["a"].shape == (3, 3) and out["b"][0].tolist() == [3, 3, 0] and out["b"][1][0].shape == (3, 1)
    assert t.predict([(fs.ones(2, 3), fs.ones(2))])["a"].shape == (2, 3)
    two = train.Trainer(nn.Bilinear(2, 3, 1)).predict([(fs.ones(4, 2), fs.ones(4, 3), fs.ones(4))])
    assert two.shape == (4, 1)
    with pytest.raises(TypeError, match="cannot join outputs of type str"):
        train.Trainer(type("Text", (nn.Module,), {"forward": lambda self, x: "text"})()).predict([fs.ones(1), fs.ones(1)])


def test_other_batches():
    """forward overridden: a dict batch, two losses, metrics on the output."""

    class Pairs(train.Trainer):
        def forward(self, batch):
            out = self.model(batch["x"])
            return nn.functional.cross_entropy(out, batch["y"]) + 0.1 * out.square().mean(), out, batch["y"]

    net = nn.Linear(4, 3)
    t = Pairs(net, fs.optim.Adam(net.parameters(), lr=0.05), metrics=["accuracy"], progress=False)
    x, y = data().tensors
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = t.fit([{"x": x, "y": y}] * 4, 20)
    assert history["accuracy"][-1] > 0.9 and history["loss"][-1] < history["loss"][0]


def test_one_epoch_of_nothing_learns_nothing():
    """Zero epochs: an empty history, no callback but the two ends."""
    log = Log()
    history = make().fit(DataLoader(data(), batch_size=8), 0, callbacks=[log])
    assert [event[0] for event in log.events] == ["fit_start", "fit_end"] and history.epochs == 0
    assert "Too few" in history.diagnosis() and repr(history) == "History(no epochs)"


def test_optimizer_and_loss_may_be_replaced():
    t = make()
    loader = DataLoader(data(), batch_size=8)
    t.fit(loader, 1)
    t.optimizer, t.loss = fs.optim.LBFGS(t.model.parameters(), lr=1e-4, max_iter=3), nn.CrossEntropyLoss(reduction="sum")
    t.fit(loader, 1)
    assert t.step == 8 and t.history["loss"][1] < t.history["loss"][0]


def test_samplers_are_told_the_epoch():
    """set_epoch, which is easily forgotten, is called with 0, 1, ..."""

    class Told(fs.utils.data.SequentialSampler):
        def set_epoch(self, epoch):
            epochs.append(epoch)

    epochs = []
    make().fit(DataLoader(data(), batch_size=8, sampler=Told(data())), 3)
    assert epochs == [0, 1, 2]
    assert make().fit(DataLoader(data(), batch_sampler=[[0, 1, 2], [3, 4]]), 1).epochs == 1  # a list has none


def test_beginners_mistakes():
    """What is given instead of instances, batches and numbers of epochs."""
    x, y = data().tensors
    net = nn.Linear(4, 3)
    with pytest.raises(TypeError, match=r"loss is the class CrossEntropyLoss; expected an instance: CrossEntropyLoss\(\.\.\.\)"):
        train.Trainer(net, fs.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss)
    with pytest.raises(TypeError, match="optimizer is the class SGD"):
        train.Trainer(net, fs.optim.SGD, nn.CrossEntropyLoss())
    with pytest.raises(TypeError, match="callback EarlyStopping is a class"):
        make(net).fit([(x, y)], 1, callbacks=[train.EarlyStopping])
    for wrong in ((x, y), [x, y], x):
        with pytest.raises(TypeError, match=r"got tensors; use DataLoader\(TensorDataset\(x, y\)"):
            make(net).fit(wrong, 1)


    class Inputs(train.Trainer):  # batches without targets are tensors
        def forward(self, batch):
            out = self.model(batch)
            return out.square().mean(), out, batch

    Inputs(net, fs.optim.SGD(net.parameters(), lr=0.1), progress=False).fit([x, x], 1)
    with pytest.raises(TypeError, match="got a TensorDataset, which gives single samples; use DataLoader"):
        make(net).fit(data(), 1)
    with pytest.raises(TypeError, match=r"predict: a tuple of tensors may be \(input, target\)"):
        make(net).predict((x, y))
    for call in ("predict", "lr_find", "overfit_batch"):
        with pytest.raises(TypeError, match=f"{call}: expected batches, got a TensorDataset"):
            getattr(make(net), call)(data())
    with pytest.raises(TypeError, match="got an optimizer of type CrossEntropyLoss and a loss of type SGD"):
        train.Trainer(net, nn.CrossEntropyLoss(), fs.optim.SGD(net.parameters(), lr=0.1))
    with pytest.raises(TypeError, match="validate: expected batches, got a TensorDataset"):
        make(net).fit([(x, y)], 1, validation=data())
    for epochs in (-1, 2.5, "3", None):
        with pytest.raises(ValueError, match="epochs must be a whole number"):
            make(net).fit([(x, y)], epochs)
    with pytest.raises(ValueError, match="validate needs a loss"):
        train.Trainer(net).validate([(x, y)])


def test_looks_in_a_callback():
    """lr_find and overfit_batch in a running fit: its callbacks, and an unfinished step, go on as if not disturbed."""
    loader = [tuple(t[i:i + 4] for t in data().tensors) for i in range(0, 32, 4)]

    class Look(train.Callback):
        def on_batch_end(self, t, logs):
            if t.batch == 3:  # in the middle of a step
                t.lr_find(loader, steps=10)
                t.overfit_batch(loader[0], steps=2)

    plain, looked, log = make(accumulate=2), make(accumulate=2), Log()
    plain.fit(loader, 2)
    looked.fit(loader, 2, None, [Look(), log])
    assert [event[0] for event in log.events].count("epoch_end") == 2
    assert all(fs.equal(a, b) for a, b in zip(plain.model.state_dict().values(), looked.model.state_dict().values()))


def test_fit_in_a_callback():
    class Again(train.Callback):
        def on_epoch_end(self, t, logs):
            t.fit([data().tensors], 1)

    t = make()
    with pytest.raises(RuntimeError, match="middle of a fit"):
        t.fit([data().tensors], 1, None, [Again()])
    assert t.fit([data().tensors], 1).stopped == "finished"


@pytest.mark.parametrize("options,text", [
    ({"accumulate": 2.5}, "accumulate must be a whole number"), ({"micro_batch": "8"}, "micro_batch must be"),
    ({"clip_norm": -1.0}, "clip_norm must not be negative"), ({"l2": -1e-4}, "l2 must not be negative"),
    ({"metrics": {"loss": lambda o, t: 0.0}}, "name 'loss' is taken"),
    ({"metrics": ["f1", train.F1("macro")]}, "name 'f1' is taken"),
    ({"metrics": [lambda o, t: 0.0, lambda o, t: 1.0]}, "name '<lambda>' is taken; pass a dict"),
])
def test_options_that_cannot_be_meant(options, text):
    with pytest.raises(ValueError, match=text):
        make(**options)


def test_parts_that_do_not_belong_together():
    net, other = nn.Linear(4, 3), fs.optim.SGD(nn.Linear(4, 3).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="scheduler is of another optimizer"):
        make(net, scheduler=fs.optim.lr_scheduler.StepLR(other, 1))
    with pytest.raises(TypeError, match="expected a module as model, got a NoneType"):
        train.Trainer(None, other, nn.CrossEntropyLoss())

    class OnlyLoss(train.Trainer):
        def forward(self, batch):
            return self.loss(self.model(batch[0]), batch[1])

    with pytest.raises(TypeError, match=r"must return \(loss, output, target\)"):
        OnlyLoss(net, fs.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss(), progress=False).fit(
            [data().tensors], 1)


@pytest.mark.parametrize("name,best", [
    ("val_recall", 2), ("val_precision", 2), ("val_top5", 2), ("val_accuracy", 2), ("val_auroc", 2), ("val_loss", 1),
    ("loss", 1), ("val_rmse", 1)])
def test_the_better_of_two_figures(tmp_path, name, best):
    """mode="auto": the best epoch of a figure that grows is the last, where high is better."""
    stopping, saver = train.EarlyStopping(name), train.ModelCheckpoint(tmp_path / "{epoch}", name)
    t = make()
    for callback in (stopping, saver):
        callback.on_fit_start(t)
        for epoch in (1, 2):
            t.epoch = epoch
            callback.on_epoch_end(t, {name: epoch / 4})
    assert stopping.best_epoch == best and saver.best_path == str(tmp_path / str(best))


def test_names_and_paths_that_say_nothing(tmp_path):
    for kind in (train.EarlyStopping, functools.partial(train.ModelCheckpoint, "x")):
        with pytest.raises(ValueError, match="'val_iou' does not tell whether high or low is better; give mode='max'"):
            kind(monitor="val_iou")
        kind(monitor="val_iou", mode="max")
        with pytest.raises(ValueError, match="mode must be"):
            kind(mode="maximum")
    with pytest.raises(ValueError, match=r"cannot be filled in \('epoc'\); in braces may stand epoch, loss"):
        make().fit([data().tensors], 1, None, [train.ModelCheckpoint(tmp_path / "{epoc}")])


def test_iterable_data_sets_without_a_length():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(list(data()))

    history = make().fit(DataLoader(Stream(), batch_size=8), 2, DataLoader(Stream(), batch_size=8))
    assert history.epochs == 2 and history["loss"] == make().fit(DataLoader(data(), batch_size=8), 2)["loss"]
