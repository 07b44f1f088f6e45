"""Callbacks: what happens beside the training loop. The order of the calls is part of the interface.

    on_fit_start(trainer)
      for each epoch:
        on_epoch_start(trainer)
          for each batch:
            on_batch_start(trainer, batch)
            ... forward, backward, and, after `accumulate` batches, the optimizer's step
            on_batch_end(trainer, logs)          logs: {"loss": ...} of this batch
        on_validation_start(trainer), on_validation_end(trainer, logs)    if there is validation data
        ... the figures of the epoch are appended to trainer.history
        on_epoch_end(trainer, logs)              logs: all figures of the epoch; may set trainer.stop
    on_fit_end(trainer)                          always, also after Ctrl-C and exceptions

Several callbacks are called in the order of the list.
"""
import math


class Callback:
    """Base class: override what is needed."""

    def on_fit_start(self, trainer):
        """Before the first epoch."""

    def on_fit_end(self, trainer):
        """After the last epoch, whatever ended the run."""

    def on_epoch_start(self, trainer):
        """trainer.epoch: counted from 1."""

    def on_epoch_end(self, trainer, logs):
        """logs: dict of the epoch's figures. Setting trainer.stop to a text ends the run; the text says why."""

    def on_batch_start(self, trainer, batch):
        """Before the forward pass."""

    def on_batch_end(self, trainer, logs):
        """After the backward pass."""

    def on_validation_start(self, trainer):
        """Before validation."""

    def on_validation_end(self, trainer, logs):
        """After validation; logs: its figures."""


def _better_is_less(monitor, mode):
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}")
    return mode == "min" or mode == "auto" and not any(word in monitor for word in ("acc", "auroc", "f1", "r2"))


def _copy_state(module):
    return {name: value.clone() if hasattr(value, "clone") else value for name, value in module.state_dict().items()}


class EarlyStopping(Callback):
    """Ends a run when `monitor` has not improved for `patience` epochs, and restores the best weights.

    monitor: a figure of the history; "val_loss", or "loss" without validation, by default. min_delta: what counts as
    an improvement. restore_best: the weights of the best epoch come back whatever ended the run.
    """

    def __init__(self, monitor=None, patience=10, min_delta=0.0, mode="auto", restore_best=True):
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        self.monitor, self.patience, self.min_delta, self.mode = monitor, patience, abs(min_delta), mode
        self.restore_best = restore_best

    def on_fit_start(self, trainer):
        self.best, self.best_epoch, self.best_state, self.waited, self.name = None, None, None, 0, self.monitor

    def on_epoch_end(self, trainer, logs):
        if self.name is None:
            self.name = "val_loss" if "val_loss" in logs else "loss"
        if self.name not in logs:
            raise KeyError(f"EarlyStopping: there is no figure {self.name!r} to monitor; the epoch has {sorted(logs)}")
        value = logs[self.name]
        less = _better_is_less(self.name, self.mode)
        better = math.isfinite(value) and (self.best is None or (
            value < self.best - self.min_delta if less else value > self.best + self.min_delta))
        if better:
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            trainer.history.best_epoch = trainer.epoch
            if self.restore_best:
                self.best_state = _copy_state(trainer.model)
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop = f"early stopping: {self.name} has not improved for {self.patience} epochs"

    def on_fit_end(self, trainer):
        if self.restore_best and self.best_state is not None:
            trainer.model.load_state_dict(self.best_state)


class ModelCheckpoint(Callback):
    """Saves the model's state dict (safetensors) after each epoch in which `monitor` improved, or after every epoch.

    path: may contain {epoch} and names of figures, e.g. "model-{epoch}-{val_loss:.3f}.safetensors".
    """

    def __init__(self, path, monitor=None, mode="auto", save_best_only=True):
        self.path, self.monitor, self.mode, self.save_best_only = path, monitor, mode, save_best_only

    def on_fit_start(self, trainer):
        self.best = None

    def on_epoch_end(self, trainer, logs):
        name = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        value = logs[name]
        less = _better_is_less(name, self.mode)
        if self.save_best_only and self.best is not None and not (value < self.best if less else value > self.best):
            return
        from ..serialization import save
        self.best = value
        path = str(self.path).format(epoch=trainer.epoch, **logs)
        save(trainer.model.state_dict(), path, metadata={"epoch": trainer.epoch, name: value})
