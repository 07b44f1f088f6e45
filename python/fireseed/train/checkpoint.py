"""The whole state of a training run in one file, and Checkpoint: a loop that is killed goes on with the same bits."""
import os
import re
import sys
import warnings

from .. import _C
from .. import random as _random
from ..serialization import DamagedFileError, load, save
from ..serialization._files import remove_leftovers

__all__ = ["Checkpoint", "load_state", "save_state"]

_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
_RESERVED = ("extra", "random")


def _random_states():
    """The states of fireseed's generator, and of Python's, numpy's and the GPUs' where they are in use."""
    states = {"fireseed": _random.get_rng_state()}
    if "random" in sys.modules:
        version, words, gauss = sys.modules["random"].getstate()
        states["python"] = {"version": version, "words": _C.tensor(words), "gauss": gauss}
    if "numpy.random" in sys.modules:
        states["numpy"] = sys.modules["numpy.random"].get_state()
    cuda = sys.modules.get("fireseed.cuda")
    if cuda is not None and cuda.is_available():
        states["cuda"] = cuda.get_rng_state_all()
    return states


def _restore_random(states):
    if "python" in states:
        import random
        saved = states["python"]
        random.setstate((saved["version"], tuple(saved["words"].tolist()), saved["gauss"]))
    if "numpy" in states:
        import numpy
        numpy.random.set_state(states["numpy"])
    if "cuda" in states:
        from .. import cuda
        if cuda.is_available():
            cuda.set_rng_state_all(states["cuda"])
    _random.set_rng_state(states["fireseed"])


def _check_parts(parts, what):
    """The parts that are there; TypeError for what has no state."""
    for name, part in parts.items():
        if name in _RESERVED:
            raise TypeError(f"{what}: a part cannot be called {name!r}, which the file uses itself")
        if part is not None and not hasattr(part, "state_dict") and not hasattr(part, "get_state"):
            raise TypeError(f"{what}: {name} is a {type(part).__name__}, which has no state_dict(); plain values go into "
                            "save(...) itself")
    return {name: part for name, part in parts.items() if part is not None}


def save_state(path, extra=None, *, random=True, **parts):
    """Writes the state of a run to one safetensors file, atomically and with checksums.

    parts: what has a state_dict(), by any name: model=, optimizer=, scheduler=, loader=, ema=; Generators too; None is
    left out. extra: plain values and tensors to keep beside them (step, epoch, best loss). random: keep the states of
    the random generators (fireseed's, Python's, numpy's, the GPUs').
    """
    parts = _check_parts(parts, "save_state")
    state = {name: part.state_dict() if hasattr(part, "state_dict") else part.get_state()
             for name, part in parts.items()}
    if random:
        state["random"] = _random_states()
    state["extra"] = extra
    save(state, path, metadata={"kind": "fireseed training state"})


def load_state(path, *, random=True, **parts):
    """Gives parts the state that save_state wrote; returns its `extra`.

    The file may hold more parts than are asked for. KeyError: it lacks one. DamagedFileError: it is damaged; no part
    has changed then.
    """
    return _apply(load(path), path, random, _check_parts(parts, "load_state"))


def _apply(state, path, random, parts):
    if not isinstance(state, dict) or "extra" not in state:
        raise ValueError(f"{os.fspath(path)} is not a training state written by save_state; load it with fireseed.load")
    for name in parts:
        if name not in state:
            held = ", ".join(key for key in state if key not in _RESERVED)
            raise KeyError(f"{os.fspath(path)} has no state for {name!r}; it has {held or 'none'}")
    for name, part in parts.items():
        if hasattr(part, "load_state_dict"):
            part.load_state_dict(state[name])
        else:
            part.set_state(state[name])
    if random and "random" in state:  # last: the others may draw
        _restore_random(state["random"])
    return state["extra"]


class Checkpoint:
    """Keeps the last good states of a run in a folder, for a loop that may be killed at any moment.

        checkpoint = Checkpoint("runs/a", model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
        at = checkpoint.resume()                         # {} at the first start
        for epoch in range(at.get("epoch", 0), epochs):
            for x, y in loader:
                ...
                checkpoint.save(epoch=epoch)             # every some steps
            scheduler.step()

    keep: how many files stay, 2 or more to have one to fall back to. parts and random: as in save_state.
    A file is there whole or not at all, and each bit of it is checked when it is read. resume takes the newest; if that
    is damaged it says so, puts it aside as *.damaged, and takes the one before.
    """

    def __init__(self, folder, *, keep=2, random=True, **parts):
        if keep < 1:
            raise ValueError(f"Checkpoint: keep must be at least 1, got {keep}")
        self.folder, self.keep, self.random = os.fspath(folder), keep, random
        self.parts = _check_parts(parts, "Checkpoint")
        self._number = None  # of the newest file

    def files(self):
        """The paths of the checkpoints, the oldest first."""
        return [path for _, path in self._numbered()]

    def _numbered(self):
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        found = ((_NAME.fullmatch(name), name) for name in names)
        return sorted((int(match[1]), os.path.join(self.folder, name)) for match, name in found if match)

    def save(self, **extra):
        """Writes a checkpoint with these values (epoch=, step=, best=) and removes those beyond `keep`; its path."""
        if self._number is None:
            os.makedirs(self.folder, exist_ok=True)
            remove_leftovers(self.folder)
            self._number = max((number for number, _ in self._numbered()), default=0)
        path = os.path.join(self.folder, f"checkpoint-{self._number + 1:06d}.safetensors")
        save_state(path, extra, random=self.random, **self.parts)
        self._number += 1
        for old in self.files()[:-self.keep]:
            os.remove(old)
        return path

    def resume(self):
        """Gives all parts the newest good state; returns the values that were given to save, {} without a checkpoint.

        RuntimeWarning: a file was damaged, and an older one was used. DamagedFileError: all are damaged.
        """
        damaged, faults = [], []
        for path in reversed(self.files()):
            try:
                state = load(path)
            except DamagedFileError as error:
                damaged.append(path)
                faults.append(str(error))
                continue
            extra = _apply(state, path, self.random, self.parts)
            for bad, fault in zip(damaged, faults):
                warnings.warn(f"Checkpoint: {fault}; resuming from {path}", RuntimeWarning, stacklevel=2)
                os.replace(bad, bad + ".damaged")
            return extra
        if faults:
            raise DamagedFileError("Checkpoint: no checkpoint can be read. " + "; ".join(faults) + ". Remove the folder "
                                   "to start anew")
        return {}
