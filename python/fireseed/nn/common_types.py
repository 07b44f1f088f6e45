"""PyTorch's torch.nn.common_types: names for annotations of sizes."""
# ruff: noqa: UP006, UP007, UP035, UP045
from typing import Tuple, TypeVar, Union

from .. import _C

T = TypeVar("T")
_scalar_or_tuple_any_t = Union[T, Tuple[T, ...]]
_scalar_or_tuple_1_t, _scalar_or_tuple_2_t = Union[T, Tuple[T]], Union[T, Tuple[T, T]]
_scalar_or_tuple_3_t = Union[T, Tuple[T, T, T]]
_size_any_t, _size_1_t = _scalar_or_tuple_any_t[int], _scalar_or_tuple_1_t[int]
_size_2_t, _size_3_t = _scalar_or_tuple_2_t[int], _scalar_or_tuple_3_t[int]
_ratio_2_t, _ratio_3_t = _scalar_or_tuple_2_t[float], _scalar_or_tuple_3_t[float]
_ratio_any_t = _scalar_or_tuple_any_t[float]
_size_2_opt_t, _size_3_opt_t = Tuple[int | None, int | None], Tuple[int | None, int | None, int | None]
_tensor_list_t = _scalar_or_tuple_any_t[_C.Tensor]
