"""Joins samples into batches."""
import sys
from collections.abc import Mapping, Sequence

from .... import _C

Tensor = _C.Tensor


def _is_numpy(value, *names):
    """Whether a value is of a numpy type, without importing numpy (it has been imported if such a value exists)."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, tuple(getattr(numpy, name) for name in names))


def default_convert(data):
    """numpy arrays and numbers to tensors, inside tuples, lists and mappings, too; the rest as it is."""
    if isinstance(data, Tensor):
        return data
    if _is_numpy(data, "ndarray", "number", "bool_"):
        return data if data.dtype.kind in "USO" else _C.as_tensor(data)
    if isinstance(data, Mapping):
        return {key: default_convert(data[key]) for key in data}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(d) for d in data))
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return [default_convert(d) for d in data]
    return data


def default_collate(batch):
    """A list of samples as one batch: tensors and arrays are stacked, numbers become a tensor, strings stay a list;
    tuples, lists, named tuples and mappings of these are joined element by element. TypeError for anything else.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _C.stack(batch, 0)
    if _is_numpy(first, "ndarray", "number", "bool_"):
        if first.dtype.kind in "USO":
            raise TypeError("default_collate: batch must contain tensors, numpy arrays, numbers, dicts or "
                            "lists; found "
                            f"{first.dtype}")
        return _C.stack([_C.as_tensor(b) for b in batch], 0)
    if isinstance(first, float):
        return _C.tensor(batch, dtype=_C.float64)
    if isinstance(first, int):
        return _C.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        joined = {key: default_collate([sample[key] for sample in batch]) for key in first}
        try:
            return type(first)(joined)
        except TypeError:
            return joined
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(samples) for samples in zip(*batch, strict=False)))
    if isinstance(first, Sequence):
        if len(set(map(len, batch))) != 1:
            raise RuntimeError("each element in list of batch should be of equal size")
        return [default_collate(samples) for samples in zip(*batch, strict=False)]
    raise TypeError("default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
                    f"{type(first)}")
