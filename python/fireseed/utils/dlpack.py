"""DLPack capsules: tensors shared with other libraries without copies."""
from .._C import from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor):
    """A DLPack capsule of `tensor`, which shares its memory; a capsule is consumed once."""
    return tensor.__dlpack__()
