"""Callbacks: what happens beside the training loop. The order of the calls is part of the interface.

    on_fit_start(trainer)
      for each epoch:
        on_epoch_start(trainer)
          for each batch:
            on_batch_start(trainer, batch)
            ... forward and backward; then, after every `accumulate` batches:
              on_step_start(trainer)           the gradients are complete, with penalties, and clipped
              ... the optimizer's step, gradients cleared, the scheduler's step if it is per batch
              on_step_end(trainer)
            on_batch_end(trainer, logs)        logs: {"loss": ...} of this batch
        ... what is left over of `accumulate` batches: on_step_start, on_step_end
        on_validation_start(trainer), on_validation_end(trainer, logs)    if there is validation data
        ... the scheduler's step if it is per epoch; the figures are appended to trainer.history
        on_epoch_end(trainer, logs)            logs: all figures of the epoch
    on_fit_end(trainer)                        always, also after Ctrl-C and exceptions

Several callbacks are called in the order of the list. Setting trainer.stop to a text ends the run, after the epoch or,
where a batch's callback sets it, after the batch (the epoch's figures are then of the batches so far).
"""
import math
import os
import re

EVENTS = ("on_fit_start", "on_fit_end", "on_epoch_start", "on_epoch_end", "on_batch_start", "on_batch_end",
          "on_step_start", "on_step_end", "on_validation_start", "on_validation_end")


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
        """After the backward pass and, if it was due, the optimizer's step; logs: {"loss": ...}."""

    def on_step_start(self, trainer):
        """Before the optimizer's step: the gradients are complete."""

    def on_step_end(self, trainer):
        """After the optimizer's step; trainer.step counts them."""

    def on_validation_start(self, trainer):
        """Before validation."""

    def on_validation_end(self, trainer, logs):
        """After validation; logs: its figures."""

    def state_dict(self):
        """What Trainer.resume has to know: numbers, strings, tensors, in dicts and lists."""
        return {}

    def load_state_dict(self, state):
        """Takes over what `state_dict` gave, after on_fit_start."""


class Events:
    """The methods of callbacks by event; those that do nothing are left out."""

    def __init__(self, callbacks, *more):
        self.callbacks = [*(callbacks if isinstance(callbacks, (list, tuple)) else (callbacks,)), *more]
        for callback in self.callbacks:
            if isinstance(callback, type):
                raise TypeError(f"Trainer: the callback {callback.__name__} is a class; expected an instance: "
                                f"{callback.__name__}(...)")
        for name in EVENTS:
            methods = [getattr(callback, name, None) for callback in self.callbacks]
            nothing = getattr(Callback, name)
            setattr(self, name, [m for m in methods if m is not None and getattr(m, "__func__", m) is not nothing])

    def call(self, name, *args):
        """Calls one event's methods in order."""
        for method in getattr(self, name):
            method(*args)

    def call_all(self, name, *args):
        """Calls all of them even if one raises, and then raises the first error."""
        first = None
        for method in getattr(self, name):
            try:
                method(*args)
            except BaseException as error:
                first = first or error
        if first is not None:
            raise first


_MORE_IS_BETTER = re.compile("acc|auroc|auc|f1|r2|precision|recall|top_?[0-9]")
_LESS_IS_BETTER = re.compile("loss|mae|mse|err|lr$")


def _better_is_less(monitor, mode, what):
    """Whether low figures of this name are the good ones; ValueError where neither the mode nor the name says it."""
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"{what}: mode must be 'auto', 'min' or 'max', got {mode!r}")
    if mode != "auto" or monitor is None:
        return mode != "max"
    more = _MORE_IS_BETTER.search(monitor)
    if not more and not _LESS_IS_BETTER.search(monitor):
        raise ValueError(f"{what}: the name {monitor!r} does not tell whether high or low is better; give mode='max' or "
                         "mode='min'")
    return not more


def _copy_state(module):
    return {name: value.clone() if hasattr(value, "clone") else value for name, value in module.state_dict().items()}


class EarlyStopping(Callback):
    """Ends a run when `monitor` has not improved for `patience` epochs, and restores the best weights.

    monitor: a figure of the history; "val_loss", or "loss" without validation, by default. min_delta: what counts as
    an improvement. mode: "min" or "max"; "auto" tells it from the name, as far as it is one of fireseed's metrics.
    restore_best: the weights of the best epoch come back whatever ended the run.
    """

    def __init__(self, monitor=None, patience=10, min_delta=0.0, mode="auto", restore_best=True):
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        _better_is_less(monitor, mode, "EarlyStopping")  # its errors, before the first epoch
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
        less = _better_is_less(self.name, self.mode, "EarlyStopping")
        better = math.isfinite(value) and (self.best is None or (
            value < self.best - self.min_delta if less else value > self.best + self.min_delta))
        if better:
            if self.restore_best:  # first, so that Ctrl-C in between leaves what belongs together
                self.best_state = _copy_state(trainer.model)
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            trainer.history.best_epoch = trainer.epoch
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop = f"early stopping: {self.name} has not improved for {self.patience} epochs"

    def on_fit_end(self, trainer):
        if self.restore_best and self.best_state is not None:
            trainer.model.load_state_dict(self.best_state)

    def state_dict(self):
        return {"best": self.best, "best_epoch": self.best_epoch, "best_state": self.best_state,
                "waited": self.waited, "name": self.name}

    def load_state_dict(self, state):
        self.__dict__.update(state)


class ModelCheckpoint(Callback):
    """Saves the model's state dict (safetensors) after each epoch in which `monitor` improved, or after every epoch.

    path: may contain {epoch} and names of figures, e.g. "model-{epoch}-{val_loss:.3f}.safetensors". monitor: "val_loss",
    or "loss" without validation, by default. save_best_only=False: after every epoch. top_k: keeps the files of the k
    best epochs and removes the others; path must then contain {epoch}. last: a path that gets every epoch's weights.
    Figures that are not finite are never better. `best_path` is the file of the best epoch, `best` its figure.
    """

    def __init__(self, path, monitor=None, mode="auto", save_best_only=True, top_k=None, last=None):
        if top_k is not None and top_k < 1:
            raise ValueError(f"ModelCheckpoint: top_k must be at least 1, got {top_k}")
        if top_k is not None and top_k > 1 and "{epoch" not in str(path):
            raise ValueError(f"ModelCheckpoint: with top_k={top_k} the path needs {{epoch}}, or each file would replace "
                             f"the one before; got {str(path)!r}")
        _better_is_less(monitor, mode, "ModelCheckpoint")  # its errors, before the first epoch
        self.path, self.monitor, self.mode, self.save_best_only = path, monitor, mode, save_best_only
        self.top_k, self.last = top_k, last

    def on_fit_start(self, trainer):
        self.best, self.best_path, self.kept = None, None, []  # kept: (figure, path) of top_k, the best first

    def on_epoch_end(self, trainer, logs):
        from ..serialization import save
        name = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if name not in logs:
            raise KeyError(f"ModelCheckpoint: there is no figure {name!r} to monitor; the epoch has {sorted(logs)}")
        value = logs[name]
        metadata = {"epoch": trainer.epoch, name: value}
        if self.last is not None:
            save(trainer.model.state_dict(), _folder_made(self.last), metadata=metadata)
        less = _better_is_less(name, self.mode, "ModelCheckpoint")
        better = math.isfinite(value) and (self.best is None or (value < self.best if less else value > self.best))
        if self.top_k is None:
            wanted = better or not self.save_best_only
        else:
            worst = self.kept[-1][0] if self.kept else None
            wanted = math.isfinite(value) and (len(self.kept) < self.top_k
                                               or (value < worst if less else value > worst))
        if not wanted:
            return
        try:
            path = str(self.path).format(epoch=trainer.epoch, **logs)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"ModelCheckpoint: the path {str(self.path)!r} cannot be filled in ({error}); in braces may "
                             f"stand epoch, {', '.join(logs)}") from error
        save(trainer.model.state_dict(), _folder_made(path), metadata=metadata)
        if better:
            self.best, self.best_path = value, path
        if self.top_k is not None:
            self.kept.append((value, path))
            self.kept.sort(key=lambda entry: entry[0] if less else -entry[0])
            for _, old in self.kept[self.top_k:]:
                if os.path.exists(old):
                    os.remove(old)
            del self.kept[self.top_k:]

    def state_dict(self):
        return {"best": self.best, "best_path": self.best_path, "kept": [list(entry) for entry in self.kept]}

    def load_state_dict(self, state):
        self.best, self.best_path = state["best"], state["best_path"]
        self.kept = [tuple(entry) for entry in state["kept"]]


def _folder_made(path):
    """The path, its folder made if there is none."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    return path


class StopOnNaN(Callback):
    """Ends the run with the batch whose loss is NaN or infinite."""

    def on_batch_end(self, trainer, logs):
        if not math.isfinite(logs["loss"]):
            trainer.stop = f"the loss became {logs['loss']} in epoch {trainer.epoch}, batch {trainer.batch}"
