"""pin_memory: batches into page-locked memory, from which copies to a GPU are faster."""
import warnings
from collections.abc import Mapping, Sequence

from .... import _C


def pinning(wanted):
    """Whether batches are to be pinned: wanted, and there is a GPU. Warns where there is none."""
    if not wanted:
        return False
    from ....cuda import is_available

    if not is_available():
        warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory "
                      "won't be used.", stacklevel=3)
        return False
    return True


def pin_memory(data, device=None):
    """data with all its tensors pinned, inside tuples, lists and mappings, too; other objects by their own pin_memory()."""
    if isinstance(data, _C.Tensor):
        return data.pin_memory()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        pinned = {key: pin_memory(value, device) for key, value in data.items()}
        try:
            return type(data)(pinned)
        except TypeError:
            return pinned
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(pin_memory(value, device) for value in data))
    if isinstance(data, Sequence):
        pinned = [pin_memory(value, device) for value in data]
        return tuple(pinned) if isinstance(data, tuple) else pinned
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    return data
