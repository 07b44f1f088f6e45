"""PyTorch's torch.types: names for annotations."""
# ruff: noqa: UP007
import os
from collections.abc import Sequence
from typing import Any, Union

from . import _C

Tensor, Generator = _C.Tensor, _C.Generator
Number = Union[int, float, bool]
Device = Union[_C.device, str, int, None]
FileLike = Union[str, os.PathLike, Any]
_int, _float, _bool = int, float, bool
_dtype, _device, _size = _C.dtype, _C.device, Union[_C.Size, Sequence[int]]
_TensorOrTensors = Union[_C.Tensor, Sequence[_C.Tensor]]
