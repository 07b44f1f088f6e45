"""What Trainer.resume keeps in its folder, and how a run goes on from there.

Note [Resuming in an epoch]. A checkpoint inside an epoch has the number of batches done, the sums of the figures, and
two states of the random generators: at the start of the epoch and now. To go on, the data is iterated anew from the
first, which gives the same order, the batches done are read and dropped, and then the generators are set to the second.
This asks nothing of the data but that the same random numbers give the same batches.
"""
from . import _batches
from ._snapshot import generators_of
from .callbacks import Callback
from .checkpoint import Checkpoint, _random_states, _restore_random


class Run(Callback):
    """The last of the callbacks: saves the whole state, and restores it."""

    def __init__(self, trainer, folder, data, every, keep):
        if every is not None and every < 1:
            raise ValueError(f"Trainer.resume: every must be at least 1, got {every}")
        self.trainer, self.data, self.every = trainer, data, every
        self.checkpoint = Checkpoint(folder, keep=keep, model=trainer.model, optimizer=trainer.optimizer,
                                     scheduler=trainer.scheduler, scaler=trainer.scaler, run=self)
        self.first_epoch, self.saved_step = trainer.epoch, trainer.step
        self.unfinished, self.epoch_start, self.in_epoch = None, None, False

    # ---- as a part of the checkpoint --------------------------------------------------------------------------------
    def state_dict(self):
        t = self.trainer
        state = {"optimizer": type(t.optimizer).__name__, "first_epoch": self.first_epoch, "step": t.step, "stop": t.stop, "history": t.history.state_dict(),
                 "callbacks": [[type(c).__name__, c.state_dict()] for c in t._events.callbacks
                               if c is not self and hasattr(c, "state_dict")]}
        if self.in_epoch:
            state.update(epoch=t.epoch - 1, batch=t.batch, figures=t._figures.state_dict(),
                         epoch_start=self.epoch_start, length=_batches.length(self.data), generators=[g.get_state() for g in generators_of(self.data)])
        else:
            state.update(epoch=t.epoch, batch=0,
                         generators=[g.get_state() for g in generators_of(self.data)])
        return state

    def load_state_dict(self, state):
        t = self.trainer
        if state.get("optimizer", type(t.optimizer).__name__) != type(t.optimizer).__name__:
            raise ValueError(f"Trainer.resume: the run in {self.checkpoint.folder} has the optimizer {state['optimizer']}"
                             f", this Trainer has {type(t.optimizer).__name__}; take another folder for another run")
        self.first_epoch, t.epoch, t.step, t.stop = state["first_epoch"], state["epoch"], state["step"], state["stop"]
        t.history.load_state_dict(state["history"])
        waiting = [c for c in t._events.callbacks if c is not self and hasattr(c, "load_state_dict")]
        for name, saved in state["callbacks"]:  # by class and order; callbacks that are new start anew
            for i, callback in enumerate(waiting):
                if type(callback).__name__ == name:
                    callback.load_state_dict(saved)
                    del waiting[i]
                    break
        for generator, value in zip(generators_of(self.data), state["generators"]):
            generator.set_state(value)
        self.unfinished = state if state["batch"] else None
        self.saved_step = t.step

    # ---- as a callback ----------------------------------------------------------------------------------------------
    def restore(self):
        """Takes over the newest checkpoint, if there is one."""
        self.checkpoint.resume()

    def batches(self):
        """The batches of the epoch that begins: all, or those that an unfinished epoch has left."""
        state, self.unfinished = self.unfinished, None
        if state is None:
            if self.every is not None:
                self.epoch_start = {"random": _random_states(),
                                    "generators": [g.get_state() for g in generators_of(self.data)]}
            return self.data
        if state.get("length") != _batches.length(self.data) and "length" in state:
            raise ValueError(f"Trainer.resume: the checkpoint is from the middle of an epoch of {state['length']} batches"
                             f", the data has {_batches.length(self.data)}; is it the same data and batch size?")
        now, self.epoch_start = _random_states(), state["epoch_start"]
        _restore_random(self.epoch_start["random"])
        generators = generators_of(self.data)
        for generator, value in zip(generators, self.epoch_start["generators"]):
            generator.set_state(value)
        rest = iter(self.data)
        for _ in range(state["batch"]):
            if next(rest, None) is None:
                raise ValueError(f"Trainer.resume: the checkpoint has {state['batch']} batches of an epoch behind it, and "
                                 "the data has fewer; is it the same data?")
        for generator, value in zip(generators, state["generators"]):
            generator.set_state(value)
        _restore_random(now)
        self.trainer.batch = state["batch"]
        self.trainer._figures.load_state_dict(state["figures"])
        return rest

    def _save(self, in_epoch):
        self.in_epoch, self.saved_step = in_epoch, self.trainer.step
        self.checkpoint.save(epoch=self.trainer.epoch, step=self.trainer.step)

    def on_batch_end(self, trainer, logs):
        if self.every is not None and trainer.step != self.saved_step and trainer.step % self.every == 0:
            self._save(True)

    def on_epoch_end(self, trainer, logs):
        self._save(False)
