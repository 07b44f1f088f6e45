"""Trainer: fit, validate, predict."""
import warnings

from .. import _C
from . import metrics as _metrics
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


def _move(value, device):
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, (list, tuple)):
        return [_move(v, device) for v in value]
    if isinstance(value, dict):
        return {k: _move(v, device) for k, v in value.items()}
    return value


def _count(batch):
    """The number of samples of a batch: the first dimension of its first tensor."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.dim() else 1
    values = batch.values() if isinstance(batch, dict) else batch
    for value in values:
        n = _count(value) if isinstance(value, (Tensor, list, tuple, dict)) else None
        if n is not None:
            return n
    return None


class _Averages:
    """Means over samples of the loss and the metrics."""

    def __init__(self):
        self.total, self.count = {}, 0

    def add(self, name, value, n):
        self.total[name] = self.total.get(name, 0.0) + value * n

    def means(self):
        return {name: total / max(self.count, 1) for name, total in self.total.items()}


class Trainer:
    """Trains a module.

    model, optimizer, loss: as in a loop written by hand; loss(output, target) gives the mean over a batch.
    metrics: "accuracy", "mae", "mse", functions (output, target) -> number, or a dict of them.
    scheduler: stepped after every epoch (schedule="batch": after every optimizer step); ReduceLROnPlateau gets the
    validation loss, or the loss. l1, l2: penalties l1 * sum |w| and l2 * sum w^2 on the weights only, added to the
    objective but not to the reported loss. clip_norm, clip_value: gradient clipping. accumulate: batches per
    optimizer step; each is weighted by its samples, so the gradient is that of the joined batch. device: where model
    and batches go. progress: show a bar.

    A batch is (input, ..., target): the model gets the inputs, the loss its output and the target. For other batches
    override `forward`. A loss that would broadcast outputs against targets of another shape is a ValueError.
    """

    def __init__(self, model, optimizer=None, loss=None, *, metrics=(), scheduler=None, schedule="epoch", l1=0.0,
                 l2=0.0, clip_norm=None, clip_value=None, accumulate=1, device=None, progress=True):
        if schedule not in ("epoch", "batch"):
            raise ValueError(f"Trainer: schedule must be 'epoch' or 'batch', got {schedule!r}")
        if accumulate < 1:
            raise ValueError(f"Trainer: accumulate must be at least 1, got {accumulate}")
        self.model = model if device is None else model.to(device)
        self.optimizer, self.loss, self.metrics = optimizer, loss, _metrics.resolve(metrics)
        self.scheduler, self.schedule = scheduler, schedule
        self.l1, self.l2, self.clip_norm, self.clip_value = l1, l2, clip_norm, clip_value
        self.accumulate, self.device, self.progress = accumulate, device, progress
        self.history = History()
        self.epoch = 0
        self.stop = None
        self._shapes = set()  # unequal shapes of outputs and targets that the loss is known to take

    # ---- to override ------------------------------------------------------------------------------------------------
    def forward(self, batch):
        """(loss, output, target) of a batch."""
        if not isinstance(batch, (list, tuple)) or len(batch) < 2:
            raise TypeError(f"Trainer: expected batches (input, ..., target), got a {type(batch).__name__}"
                            f"{f' of length {len(batch)}' if isinstance(batch, (list, tuple)) else ''}; override "
                            "Trainer.forward for other batches")
        *inputs, target = batch
        output = self.model(*inputs)
        if isinstance(output, Tensor) and isinstance(target, Tensor) and output.shape != target.shape:
            return self._checked_loss(output, target), output, target
        return self.loss(output, target), output, target

    def _checked_loss(self, output, target):
        """The loss of unequal shapes. That of each pair with each other is a mistake PyTorch only warns of."""
        shapes = tuple(output.shape), tuple(target.shape)
        if shapes in self._shapes:
            return self.loss(output, target)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Using a target size")
            try:
                loss = self.loss(output, target)
            except UserWarning:
                raise ValueError(
                    f"Trainer: the loss would compare every output {shapes[0]} with every target {shapes[1]}; expected "
                    "equal shapes. Reshape the target (target.unsqueeze(1) makes a column) or the output "
                    "(output.squeeze(1))") from None
        self._shapes.add(shapes)
        return loss

    # ---- fit --------------------------------------------------------------------------------------------------------
    def fit(self, data, epochs, validation=None, callbacks=()):
        """Trains for a number of epochs over `data` (a DataLoader or another iterable of batches); returns the History.

        validation: batches to measure after every epoch. Ctrl-C ends the run at once, after which the history and,
        with EarlyStopping, the best weights are there as after any other end; `history.stopped` says "interrupted".
        Calling fit again continues the epoch count and the history.
        """
        if self.optimizer is None or self.loss is None and type(self).forward is Trainer.forward:
            raise ValueError("Trainer.fit needs an optimizer and a loss")
        callbacks = list(callbacks)
        bar = Progress(self.progress)
        self.stop = self.history.stopped = None
        last = self.epoch + epochs
        was_training = self.model.training
        try:
            for callback in callbacks:
                callback.on_fit_start(self)
            while self.epoch < last and self.stop is None:
                self.epoch += 1
                try:
                    self._epoch(data, validation, callbacks, bar, last)
                except BaseException:
                    self.epoch -= 1
                    raise
            self.history.stopped = self.stop or "finished"
        except KeyboardInterrupt:
            self.history.stopped = "interrupted"
            if self.progress:
                print(f"\ninterrupted after {self.history.epochs} epochs", flush=True)
        finally:
            bar.close()
            if self.history.stopped is None:
                self.history.stopped = "failed"
            for callback in callbacks:
                callback.on_fit_end(self)
            self.model.train(was_training)
        return self.history

    def _epoch(self, data, validation, callbacks, bar, last):
        for callback in callbacks:
            callback.on_epoch_start(self)
        self.model.train()
        averages = _Averages()
        bar.start(self.epoch, last, len(data) if hasattr(data, "__len__") else None)
        if self.accumulate == 1:
            for batch in data:
                self._batch(batch, 1.0, averages, callbacks, bar)
                self._update()
        else:
            group = []
            for batch in data:
                group.append(batch)
                if len(group) == self.accumulate:
                    self._group(group, averages, callbacks, bar)
                    group = []
            if group:
                self._group(group, averages, callbacks, bar)
        if averages.count == 0:
            raise ValueError("Trainer.fit: the training data gave no batches")
        logs = averages.means()
        if validation is not None:
            for callback in callbacks:
                callback.on_validation_start(self)
            measured = self.validate(validation)
            for callback in callbacks:
                callback.on_validation_end(self, measured)
            logs.update((f"val_{name}", value) for name, value in measured.items())
        logs["lr"] = float(self.optimizer.param_groups[0]["lr"])
        if self.scheduler is not None and self.schedule == "epoch":
            if type(self.scheduler).__name__ == "ReduceLROnPlateau":
                self.scheduler.step(logs.get("val_loss", logs["loss"]))
            else:
                self.scheduler.step()
        self.history.append(logs)
        bar.finish(logs)
        for callback in callbacks:
            callback.on_epoch_end(self, logs)

    def _group(self, group, averages, callbacks, bar):
        """Several batches, one step: each weighted by its share of the samples."""
        counts = [_count(batch) or 1 for batch in group]
        for batch, n in zip(group, counts, strict=False):
            self._batch(batch, n / sum(counts), averages, callbacks, bar)
        self._update()

    def _batch(self, batch, share, averages, callbacks, bar):
        """Forward and backward of one batch, whose loss counts by `share`."""
        if self.device is not None:
            batch = _move(batch, self.device)
        for callback in callbacks:
            callback.on_batch_start(self, batch)
        loss, output, target = self.forward(batch)
        objective = loss
        if self.l1:
            objective = objective + self.l1 * l1_penalty(self.model)
        if self.l2:
            objective = objective + self.l2 * l2_penalty(self.model)
        (objective if share == 1.0 else objective * share).backward()
        n = _count(batch) or 1
        value = loss.item()
        averages.count += n
        averages.add("loss", value, n)
        for name, metric in self.metrics.items():
            averages.add(name, float(metric(output, target)), n)
        if bar.bar is not None:
            bar.step(averages.total["loss"] / averages.count)
        for callback in callbacks:
            callback.on_batch_end(self, {"loss": value})

    def _update(self):
        """One step of the optimizer."""
        if self.clip_norm is not None or self.clip_value is not None:
            from ..nn.utils import clip_grad_norm_, clip_grad_value_
            if self.clip_norm is not None:
                clip_grad_norm_(self.model.parameters(), self.clip_norm)
            if self.clip_value is not None:
                clip_grad_value_(self.model.parameters(), self.clip_value)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.scheduler is not None and self.schedule == "batch":
            self.scheduler.step()

    # ---- validate, predict ------------------------------------------------------------------------------------------
    def validate(self, data):
        """The loss and the metrics over batches, in evaluation mode: a dict of numbers."""
        was_training = self.model.training
        self.model.eval()
        averages = _Averages()
        try:
            with _C.no_grad():
                for batch in data:
                    if self.device is not None:
                        batch = _move(batch, self.device)
                    loss, output, target = self.forward(batch)
                    n = _count(batch) or 1
                    averages.count += n
                    averages.add("loss", loss.item(), n)
                    for name, metric in self.metrics.items():
                        averages.add(name, float(metric(output, target)), n)
        finally:
            self.model.train(was_training)
        return averages.means()

    def predict(self, data, has_target=True):
        """The model's outputs over batches (or for one input tensor), joined along the first dimension.

        has_target: the last element of a batch with several is a target and not given to the model.
        """
        was_training = self.model.training
        self.model.eval()
        outputs = []
        try:
            with _C.no_grad():
                for batch in [data] if isinstance(data, Tensor) else data:
                    if self.device is not None:
                        batch = _move(batch, self.device)
                    inputs = list(batch) if isinstance(batch, (list, tuple)) else [batch]
                    if has_target and len(inputs) > 1:
                        inputs = inputs[:-1]
                    outputs.append(self.model(*inputs))
        finally:
            self.model.train(was_training)
        if not outputs:
            raise ValueError("Trainer.predict: the data gave no batches")
        return outputs[0] if len(outputs) == 1 else _C.cat(outputs)
