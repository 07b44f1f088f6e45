"""Batches: nested lists, tuples and dicts of tensors, moved, counted, cut into parts and joined."""
from .. import _C

Tensor = _C.Tensor


def _map(value, function):
    """`function` of every tensor in a nested value; what is no tensor stays."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(v, function) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_map(v, function) for v in value)
    if isinstance(value, dict):
        return {k: _map(v, function) for k, v in value.items()}
    return value


def length(data):
    """The number of batches; None where the data does not say it (a DataLoader of an IterableDataset has len(), which
    may raise)."""
    try:
        return len(data)
    except TypeError:
        return None


def move(batch, device):
    """The batch with its tensors on a device."""
    return _map(batch, lambda t: t.to(device))


def count(batch):
    """The number of samples: the first dimension of the first tensor; 1 if there is none."""
    return _count(batch) or 1


def _count(batch):
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.dim() else 1
    for value in batch.values() if isinstance(batch, dict) else batch if isinstance(batch, (list, tuple)) else ():
        n = _count(value)
        if n is not None:
            return n
    return None


def split(batch, size):
    """The batch cut along the first dimension into parts of at most `size` samples.

    Tensors whose first dimension is not that of the batch go to every part whole.
    """
    n = count(batch)
    if n <= size:
        return (batch,)
    return [_map(batch, lambda t, at=at: t[at:at + size] if t.dim() and t.shape[0] == n else t)
            for at in range(0, n, size)]


def join(outputs):
    """A list of outputs of one structure, joined along the first dimension."""
    first = outputs[0]
    if len(outputs) == 1:
        return first
    if isinstance(first, Tensor):
        return _C.cat(outputs)
    if isinstance(first, dict):
        return {k: join([o[k] for o in outputs]) for k in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(join(list(part)) for part in zip(*outputs)))
    if isinstance(first, (list, tuple)):
        return type(first)(join(list(part)) for part in zip(*outputs))
    raise TypeError(f"Trainer.predict: cannot join outputs of type {type(first).__name__}; expected tensors, or "
                    "tuples, lists and dicts of them")
