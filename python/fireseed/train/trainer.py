"""Trainer: fit, validate, predict, resume."""
import contextlib
import inspect
import warnings

from .. import _C
from . import _batches, _lint
from . import metrics as _metrics
from ._weights import Weigher, describe
from .callbacks import Events
from .history import History
from .progress import Progress

Tensor = _C.Tensor


def _weights(module):
    """The parameters a penalty is for: matrices and filters, not biases and norms (which are one-dimensional)."""
    return [p for p in module.parameters() if p.requires_grad and p.dim() > 1]


def l1_penalty(module):
    """The sum of |w| over the weights of a module (not over biases and norms): lasso."""
    return sum((w.abs().sum() for w in _weights(module)), 0.0)


def l2_penalty(module):
    """The sum of w^2 over the weights of a module (not over biases and norms): ridge."""
    return sum(((w * w).sum() for w in _weights(module)), 0.0)


@contextlib.contextmanager
def _modes_kept(model):
    """On leaving the block every module is in training or evaluation mode as it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield modes
    finally:
        for module, training in modes:
            if module.training is not training:
                module.training = training


class _Figures:
    """The loss and the metrics over the batches of an epoch."""

    def __init__(self, metrics, sums):
        self.metrics = {name: metric.fresh() for name, metric in metrics.items()}
        self.sums, self.total, self.weight, self.batches = sums, 0.0, 0, 0

    def add(self, loss, weight, output, target):
        """A batch: its loss (a number or tensor), what that was divided by, or for sums the number of samples."""
        self.batches += 1
        self.total += loss if self.sums else loss * weight if weight else 0.0
        self.weight += weight
        for metric in self.metrics.values():
            metric.update(output, target)

    def loss(self):
        """The mean loss: of all terms, or for sums of the samples."""
        return float(self.total) / self.weight if self.weight else float("nan")

    def means(self):
        return {"loss": self.loss(), **{name: float(metric.compute()) for name, metric in self.metrics.items()}}

    def state_dict(self):
        return {"total": float(self.total), "weight": self.weight, "batches": self.batches,
                "metrics": {name: metric.state_dict() for name, metric in self.metrics.items()}}

    def load_state_dict(self, state):
        if set(state["metrics"]) != set(self.metrics):
            raise ValueError(f"Trainer.resume: the checkpoint is from the middle of an epoch with the metrics "
                             f"{sorted(state['metrics'])}, now they are {sorted(self.metrics)}; finish the epoch first")
        self.total, self.weight, self.batches = state["total"], state["weight"], state["batches"]
        for name, metric in self.metrics.items():
            metric.load_state_dict(state["metrics"][name])


class Trainer:
    """Trains a module.

    model, optimizer, loss: as in a loop written by hand. Of the loss, mean and sum are understood, with class weights
    and ignore_index: the reported loss is that of all samples at once, however they are batched.
    metrics: "accuracy", "top5", "precision", "recall", "f1", "auroc", "r2", "mae", "mse", "rmse", Metrics, functions
    (output, target) -> number, or a dict of them. scheduler: stepped after every epoch (schedule="batch": after every
    optimizer step); ReduceLROnPlateau gets the validation loss, or the loss. l1, l2: penalties l1 * sum |w| and
    l2 * sum w^2 on the weights only, added to the objective but not to the reported loss. clip_norm, clip_value:
    gradient clipping. accumulate: batches per optimizer step. micro_batch: the most samples processed at once; larger
    batches are cut. Either way the gradient is exactly that of the joined batch (Note [Parts of a batch]). device:
    where model and batches go. precision: "bfloat16" or "float16" runs forward passes under amp.autocast, float16 with a
    GradScaler, which is `scaler`; "auto" takes the device's default. progress: show a bar. lint: warn once of frequent
    mistakes (see fireseed.train.lint).

    A batch is (input, ..., target): the model gets the inputs, the loss its output and the target. For other batches
    override `forward`. A loss that would broadcast outputs against targets of another shape is a ValueError.

    While it runs: `epoch` counts from 1, `batch` the batches of the epoch, `step` all steps of the optimizer.
    """

    def __init__(self, model, optimizer=None, loss=None, *, metrics=(), scheduler=None, schedule="epoch", l1=0.0,
                 l2=0.0, clip_norm=None, clip_value=None, accumulate=1, micro_batch=None, device=None, precision=None,
                 progress=True, lint=True):
        if schedule not in ("epoch", "batch"):
            raise ValueError(f"Trainer: schedule must be 'epoch' or 'batch', got {schedule!r}")
        for name, value in (("accumulate", accumulate), ("micro_batch", micro_batch)):
            if not (name == "micro_batch" and value is None) and (not isinstance(value, int) or value < 1):
                raise ValueError(f"Trainer: {name} must be a whole number, at least 1, got {value!r}")
        for name, value in (("l1", l1), ("l2", l2), ("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and not value >= 0:  # a negative norm would turn the gradients round
                raise ValueError(f"Trainer: {name} must not be negative, got {value}")
        if precision not in (None, "auto", "bfloat16", "float16"):
            raise ValueError(f"Trainer: precision must be None, 'auto', 'bfloat16' or 'float16', got {precision!r}")
        for name, part in (("model", model), ("optimizer", optimizer), ("loss", loss), ("scheduler", scheduler)):
            if isinstance(part, type):
                raise TypeError(f"Trainer: {name} is the class {part.__name__}; expected an instance: {part.__name__}(...)")
        if optimizer is not None and not hasattr(optimizer, "step") or loss is not None and not callable(loss):
            raise TypeError("Trainer: expected (model, optimizer, loss), got an optimizer of type "
                            f"{type(optimizer).__name__} and a loss of type {type(loss).__name__}")
        if not callable(model):
            raise TypeError(f"Trainer: expected a module as model, got a {type(model).__name__}")
        groups = getattr(getattr(scheduler, "optimizer", None), "param_groups", None)
        if groups is not None and optimizer is not None and groups is not optimizer.param_groups:
            raise ValueError("Trainer: the scheduler is of another optimizer, so that it would change nothing here; make "
                             "it with the Trainer's optimizer")
        self.model = model if device is None else model.to(device)
        self.optimizer = optimizer
        self.loss = loss.to(device) if device is not None and hasattr(loss, "to") else loss  # its class weights
        self.metrics = _metrics.resolve(metrics, describe(loss)[0])
        self.scheduler, self.schedule = scheduler, schedule
        self.l1, self.l2, self.clip_norm, self.clip_value = l1, l2, clip_norm, clip_value
        self.accumulate, self.micro_batch, self.device, self.progress = accumulate, micro_batch, device, progress
        self._autocast, self.scaler = self._mixed_precision(precision)
        self.history = History()
        self.epoch = self.batch = self.step = 0
        self.stop = None
        self._lint_due, self._weigher = lint, Weigher(loss)
        self._known = self._data = self._run = None  # the optimizer whose step is known; the data of a running fit
        self._events = Events(())
        self._shapes = set()  # unequal shapes of outputs and targets that the loss is known to take

    def _mixed_precision(self, precision):
        """(autocast or None, GradScaler or None) for the device of the model."""
        if precision is None:
            return None, None
        from ..amp import GradScaler, autocast, get_autocast_dtype
        device = next((p.device.type for p in self.model.parameters()), "cpu")
        dtype = get_autocast_dtype(device) if precision == "auto" else getattr(_C, precision)
        return autocast(device, dtype), GradScaler(device) if dtype == _C.float16 else None

    # ---- to override ------------------------------------------------------------------------------------------------
    def forward(self, batch):
        """(loss, output, target) of a batch; or (loss, output, target, weight) where the loss was divided by `weight`,
        which for torch.nn's losses is known and otherwise taken to be the number of samples."""
        if not isinstance(batch, (list, tuple)) or len(batch) < 2:
            raise TypeError(f"Trainer: expected batches (input, ..., target), got a {type(batch).__name__}"
                            f"{f' of length {len(batch)}' if isinstance(batch, (list, tuple)) else ''}; override "
                            "Trainer.forward for other batches")
        *inputs, target = batch
        output = self.model(*inputs)
        if self._weigher.compares and isinstance(output, Tensor) and isinstance(target, Tensor) \
                and output.shape != target.shape:
            return self._checked_loss(output, target), output, target
        return self.loss(output, target), output, target

    def _checked_loss(self, output, target):
        """The loss of unequal shapes. That of each pair with each other is a mistake PyTorch only warns of."""
        shapes = output.shape, target.shape
        if shapes in self._shapes:
            return self.loss(output, target)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Using a target size")
            try:
                loss = self.loss(output, target)
            except UserWarning:
                raise ValueError(
                    f"Trainer: the loss would compare every output {tuple(shapes[0])} with every target "
                    f"{tuple(shapes[1])}; expected equal shapes. Reshape the target (target.unsqueeze(1) makes a "
                    "column) or the output (output.squeeze(1))") from None
        self._shapes.add(shapes)
        return loss

    # ---- fit --------------------------------------------------------------------------------------------------------
    def fit(self, data, epochs, validation=None, callbacks=()):
        """Trains for a number of epochs over `data` (a DataLoader or another iterable of batches); returns the History.

        validation: batches to measure after every epoch. callbacks: called in order (see Callback). Ctrl-C ends the
        run at once, after which the history and, with EarlyStopping, the best weights are there as after any other
        end; `history.stopped` says "interrupted". Calling fit again continues the epoch count and the history.
        Modules that are in evaluation mode inside a model in training mode (frozen batch norms) stay so.
        """
        self._check_ready("fit")
        return self._fit(data, epochs, validation, callbacks, None)

    def resume(self, folder, data, epochs, validation=None, callbacks=(), *, every=None, keep=2):
        """fit with its whole state kept in a folder: run the same command again after a crash, and it goes on.

        Saved after every epoch and, with `every`, after so many steps of the optimizer: weights, optimizer, scheduler,
        random generators, history, callbacks (EarlyStopping's best weights) and the place in the epoch. A run that was
        killed at any moment ends with the same bits as one that was not, provided that the data comes in the same
        order for the same random numbers. An empty folder: a run from the start. `epochs` is that of the whole run;
        when it is done, nothing is trained. keep: how many checkpoints stay (see Checkpoint).
        """
        from ._run import Run
        self._check_ready("resume")
        return self._fit(data, epochs, validation, callbacks, Run(self, folder, data, every, keep))

    def _fit(self, data, epochs, validation, callbacks, run):
        if self._data is not None:
            raise RuntimeError("Trainer.fit: this Trainer is in the middle of a fit; a callback cannot start another")
        if not hasattr(epochs, "__index__") or isinstance(epochs, bool) or epochs < 0:
            raise ValueError(f"Trainer.fit: epochs must be a whole number, 0 or more, got {epochs!r}")
        self._check_data("fit", data)
        events = self._events = Events(callbacks, *(() if run is None else (run,)))
        self._bar = Progress(self.progress)
        self.stop = self.history.stopped = None
        self.optimizer.zero_grad()
        last, self._data, self._run = self.epoch + epochs, data, run
        with _modes_kept(self.model) as modes:
            self._modes = modes
            self._frozen = [module for module, training in modes if not training] if self.model.training else []
            try:
                events.call("on_fit_start", self)
                if run is not None:
                    run.restore()
                    last = run.first_epoch + epochs
                while self.epoch < last and self.stop is None:
                    self.epoch += 1
                    try:
                        self._epoch(data, validation, last)
                    except BaseException:
                        self.epoch -= 1
                        raise
                self.history.stopped = self.stop or "finished"
            except KeyboardInterrupt:
                self.history.stopped = "interrupted"
                if self.progress:
                    print(f"\ninterrupted after {self.history.epochs} epochs", flush=True)
            finally:
                self._bar.close()
                if self.history.stopped is None:
                    self.history.stopped = "failed"
                self.optimizer.zero_grad()  # an interrupted step leaves nothing behind
                self._data = self._run = None
                events.call_all("on_fit_end", self)
        return self.history

    def _check_ready(self, name, optimizer=True):
        no_loss = self.loss is None and type(self).forward is Trainer.forward
        if no_loss or optimizer and self.optimizer is None:
            raise ValueError(f"Trainer.{name} needs {'an optimizer and ' if optimizer else ''}a loss")

    def _check_data(self, name, data):
        """Batches are wanted: not the tensors themselves (unless forward takes them), not single samples."""
        if type(self).forward is Trainer.forward and (isinstance(data, Tensor) or isinstance(data, (list, tuple))
                                                      and len(data) > 1 and all(isinstance(t, Tensor) for t in data)):
            raise TypeError(f"Trainer.{name}: expected batches, got tensors; use DataLoader(TensorDataset(x, y), "
                            "batch_size=32, shuffle=True), or [(x, y)] for one batch")
        self._check_no_dataset(name, data)

    @staticmethod
    def _check_no_dataset(name, data):
        from ..utils.data import Dataset, IterableDataset
        if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
            raise TypeError(f"Trainer.{name}: expected batches, got a {type(data).__name__}, which gives single samples; "
                            f"use DataLoader(dataset, batch_size=32{', shuffle=True' if name == 'fit' else ''})")

    def _epoch(self, data, validation, last):
        events, self.batch = self._events, 0
        events.call("on_epoch_start", self)
        for sampler in (getattr(data, "sampler", None), getattr(data, "batch_sampler", None)):
            if hasattr(sampler, "set_epoch"):  # a DistributedSampler would otherwise give the same order every epoch
                sampler.set_epoch(self.epoch - 1)
        self._begin_steps()
        if not all(module.training for module, _ in self._modes):
            self.model.train()
            for module in self._frozen:
                module.training = False
        figures = self._figures = _Figures(self.metrics, self._weigher.sums)
        batches = data if self._run is None else self._run.batches()
        self._bar.start(self.epoch, last, _batches.length(data), self.batch)
        self._run_batches(batches, figures)
        if figures.batches == 0:
            raise ValueError("Trainer.fit: the training data gave no batches" + (
                "; it is used up: give a list or a DataLoader, which can be read again" if self.epoch > 1 else ""))
        logs = figures.means()
        if validation is not None:
            events.call("on_validation_start", self)
            measured = self.validate(validation)
            events.call("on_validation_end", self, measured)
            logs.update((f"val_{name}", value) for name, value in measured.items())
        logs["lr"] = float(self.optimizer.param_groups[0]["lr"])
        if self.schedule == "epoch":
            self._schedule(logs.get("val_loss", logs["loss"]))
        self.history.append(logs)
        self._bar.finish(logs)
        events.call("on_epoch_end", self, logs)

    def _run_batches(self, data, figures):
        """The hot loop: what is here costs time at every step."""
        bar = self._bar
        batch_start, batch_end = self._events.on_batch_start, self._events.on_batch_end
        backward = self._backward_part if self.micro_batch is None else self._backward
        device, closure, step_number, pending = self.device, self._closure, self.accumulate, 0
        for batch in data:
            if device is not None:
                batch = _batches.move(batch, device)
            self.batch += 1
            for call in batch_start:
                call(self, batch)
            if closure:
                loss = self._step_with_closure(batch, figures)
            else:
                loss = self._linted_backward(batch, figures) if self._lint_due else backward(batch, figures)
                pending += 1
                if pending == step_number:
                    self._update()
                    pending = 0
            if bar.bar is not None:
                bar.step(figures)
            for call in batch_end:
                call(self, {"loss": float(loss)})
            if self.stop is not None:
                break
        if pending:
            self._update()

    @contextlib.contextmanager
    def _steps(self):
        """In this block _one_step trains outside of fit, without callbacks, in training mode."""
        self._check_ready("fit")
        outside = {name: vars(self).get(name) for name in ("_events", "_weigher", "_unit", "_gathered", "_cached")}
        with _modes_kept(self.model):
            self.model.train()
            self.optimizer.zero_grad()
            self._events, self._lint_due = Events(()), False
            self._begin_steps()
            try:
                yield
            finally:
                vars(self).update(outside)  # a callback of a running fit may have called

    def _one_step(self, batch):
        """One step on one batch; returns its loss."""
        if self.device is not None:
            batch = _batches.move(batch, self.device)
        if self._closure:
            return self._step_with_closure(batch, None)
        loss = self._backward(batch, None)
        self._update()
        return loss

    def _begin_steps(self):
        """What follows from the optimizer and the loss, which may be replaced between runs.

        _unit: the first weight among the parts of a step, in whose units gradients are gathered; _gathered: the sum of
        their weights.
        """
        self._weigher, self._unit, self._gathered = Weigher(self.loss), None, 0.0
        self._whole = self.accumulate == 1 and self.micro_batch is None or self._weigher.sums
        self._plain = self._whole and self.scaler is None and not (
            self.l1 or self.l2 or self.clip_norm is not None or self.clip_value is not None)
        self._cached = None
        if self.scaler is not None:
            self.scaler._per_optimizer.clear()  # an interrupted step
        if self._known is not self.optimizer:
            step = inspect.signature(self.optimizer.step).parameters.get("closure")
            self._closure = step is not None and step.default is inspect.Parameter.empty
            self._known = self.optimizer
        if self._closure and self.scaler is not None:
            raise ValueError(f"Trainer: {type(self.optimizer).__name__} evaluates the loss several times a step, which "
                             "does not go with float16; use precision='bfloat16'")
        if self._closure and self.accumulate > 1:
            raise ValueError(f"Trainer: {type(self.optimizer).__name__} evaluates the loss several times a step, which "
                             "does not go with accumulate; use larger batches, and micro_batch if memory is short")

    def _backward(self, batch, figures):
        """Forward and backward of a batch, whose gradients are added up; returns its loss."""
        if self.micro_batch is None:
            return self._backward_part(batch, figures)
        parts = _Figures({}, self._weigher.sums)
        for part in _batches.split(batch, self.micro_batch):
            self._backward_part(part, figures, parts)
        return parts.total if parts.sums else parts.loss()

    def _cast_forward(self, batch):
        with self._autocast:
            return self.forward(batch)

    def _backward_part(self, batch, figures, parts=None):
        result = self.forward(batch) if self._autocast is None else self._cast_forward(batch)
        loss, output, target = result[:3]
        weight = result[3] if len(result) == 4 else self._weigher(output, target, batch)
        if self._whole:
            (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        elif weight:  # Note [Parts of a batch]; parts without weight add nothing (their mean loss is 0 / 0)
            if self._unit is None:
                self._unit = weight
            self._gathered += weight
            share = loss * (weight / self._unit)
            (share if self.scaler is None else self.scaler.scale(share)).backward()
        loss = loss.detach() if loss.is_cuda else loss.item()  # reading from a GPU would wait for it
        if figures is not None:
            figures.add(loss, weight, output, target)
        if parts is not None:
            parts.add(loss, weight, output, target)
        return loss

    def _linted_backward(self, batch, figures):
        """The first batch, looked at for frequent mistakes on its way."""
        self._lint_due = False
        with _lint.watching(self, batch) as watch:
            forward = self.__dict__.get("forward")
            self.forward = watch.forward
            try:
                return self._backward(batch, figures)
            finally:
                if forward is None:
                    del self.forward
                else:
                    self.forward = forward

    def _parameters(self):
        """The model's parameters, listed once an epoch."""
        if self._cached is None:
            self._cached = list(self.model.parameters())
        return self._cached

    def _finish_gradients(self, scaler=None):
        """Turns the gathered gradients into those of the step: divided, with penalties, clipped."""
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if self._unit is not None:
            if self._gathered != self._unit:
                grads = [p.grad for p in self._parameters() if p.grad is not None]
                if grads:
                    factor = _C.tensor(self._unit / self._gathered, dtype=_C.float64, device=grads[0].device)
                    _C._foreach_scale_(grads, factor)
            self._unit, self._gathered = None, 0.0
        penalty = 0.0
        if self.l1 or self.l2:
            penalty = self.l1 * l1_penalty(self.model) + self.l2 * l2_penalty(self.model)
            if isinstance(penalty, Tensor):
                penalty.backward()
        if self.clip_norm is not None or self.clip_value is not None:
            from ..nn.utils import clip_grad_norm_, clip_grad_value_
            if self.clip_norm is not None:
                clip_grad_norm_(self._parameters(), self.clip_norm)
            if self.clip_value is not None:
                clip_grad_value_(self._parameters(), self.clip_value)
        return penalty

    def _update(self):
        """One step of the optimizer."""
        # Had none of the step's parts any weight, there are no gradients, and nothing for the scaler to look at.
        scaler = self.scaler if self._whole or self._unit is not None else None
        if not self._plain:
            self._finish_gradients(scaler)
        for call in self._events.on_step_start:
            call(self)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self.optimizer.zero_grad()
        self._stepped()

    def _stepped(self):
        self.step += 1
        if self.scheduler is not None and self.schedule == "batch":
            self._schedule(lambda: self._figures.loss())
        for call in self._events.on_step_end:
            call(self)

    def _step_with_closure(self, batch, figures):
        """A step of an optimizer such as LBFGS, which evaluates the loss as often as it likes."""
        first = []

        def closure():
            self.optimizer.zero_grad()
            backward = self._linted_backward if self._lint_due else self._backward
            loss = backward(batch, None if first else figures)
            first.append(loss)
            loss = float(loss) + float(self._finish_gradients())
            if len(first) == 1:
                for call in self._events.on_step_start:
                    call(self)
            return _C.tensor(loss, dtype=_C.float64)

        self.optimizer.step(closure)
        self.optimizer.zero_grad()
        self._stepped()
        return first[0]

    def _schedule(self, value):
        """One step of the scheduler; value: what ReduceLROnPlateau looks at, or a function that gives it."""
        if self.scheduler is None:
            return
        if type(self.scheduler).__name__ == "ReduceLROnPlateau":
            self.scheduler.step(value() if callable(value) else value)
        else:
            self.scheduler.step()

    # ---- looks ahead ------------------------------------------------------------------------------------------------
    def lr_find(self, data, start=1e-7, end=10.0, steps=100, stop_at=4.0):
        """Looks for a learning rate: trains for `steps` steps with rates growing from `start` to `end`, and undoes it.

        Returns an LRFinding: `suggestion` (a rate, or None), `lrs` and `losses`, plot(); print it for a drawing. It
        ends early where the loss is `stop_at` times its lowest. Everything is as before, bit for bit: weights, buffers,
        optimizer, modes, random numbers and the order of the data to come. (Note [Learning-rate range test])
        """
        from ._tune import lr_find
        self._check_ready("lr_find")
        self._check_data("lr_find", data)
        return lr_find(self, data, start, end, steps, stop_at)

    def overfit_batch(self, batch, steps=200, floor=1e-2, keep=False):
        """Can the network learn one batch by heart? If not, something is wrong with it, the loss or the optimizer.

        batch: one batch, or a DataLoader, of which the first is taken. Returns an Overfitting: `learned` (the last loss
        is below `floor` or a twentieth of the first), `losses`, `message`. Undone afterwards unless `keep`.
        """
        from ._tune import overfit_batch
        self._check_ready("overfit_batch")
        self._check_no_dataset("overfit_batch", batch)
        return overfit_batch(self, batch, steps, floor, keep)

    # ---- validate, predict ------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def _evaluating(self):
        with _modes_kept(self.model), _C.no_grad():
            self.model.eval()
            yield

    def validate(self, data):
        """The loss and the metrics over batches, in evaluation mode: a dict of numbers."""
        self._check_ready("validate", optimizer=False)
        self._check_data("validate", data)
        self._weigher = Weigher(self.loss)
        figures = _Figures(self.metrics, self._weigher.sums)
        with self._evaluating():
            for batch in data:
                if self.device is not None:
                    batch = _batches.move(batch, self.device)
                for part in (batch,) if self.micro_batch is None else _batches.split(batch, self.micro_batch):
                    result = self.forward(part) if self._autocast is None else self._cast_forward(part)
                    loss, output, target = result[:3]
                    weight = result[3] if len(result) == 4 else self._weigher(output, target, part)
                    figures.add(loss.detach() if loss.is_cuda else loss.item(), weight, output, target)
        if figures.batches == 0:
            raise ValueError("Trainer.validate: the data gave no batches")
        return figures.means()

    def predict(self, data, has_target=True):
        """The model's outputs over batches (or for one input tensor), joined along the first dimension.

        has_target: the last element of a batch with several is a target and not given to the model.
        """
        self._check_no_dataset("predict", data)
        if isinstance(data, tuple) and len(data) > 1 and all(isinstance(t, Tensor) for t in data):
            raise TypeError("Trainer.predict: a tuple of tensors may be (input, target) or several inputs; give predict(x), "
                            "or a list of batches: [(x, y)]")
        if type(getattr(data, "sampler", None)).__name__ == "RandomSampler":
            warnings.warn("Trainer.predict: the DataLoader shuffles, so the outputs come in another order than the "
                          "samples of its data set; use shuffle=False", stacklevel=2)
        outputs = []
        with self._evaluating():
            for batch in [data] if isinstance(data, Tensor) else data:
                if self.device is not None:
                    batch = _batches.move(batch, self.device)
                inputs = list(batch) if isinstance(batch, (list, tuple)) else [batch]
                if has_target and len(inputs) > 1:
                    inputs = inputs[:-1]
                with self._autocast or contextlib.nullcontext():
                    outputs.append(self.model(*inputs))
        if not outputs:
            raise ValueError("Trainer.predict: the data gave no batches")
        return _batches.join(outputs)
