"""A linear layer and its cross-entropy in one call, on demand in chunks of the batch so that memory stays small."""
import math
import warnings
from dataclasses import dataclass

from ... import _C
from ...autograd import Function, grad
from . import _nn


@dataclass(frozen=True)
class LinearCrossEntropyOptions:
    """How linear_cross_entropy cuts the batch: PyTorch's fields.

    batch_chunk_size rows at a time, or as chunking_method says: "aspect_ratio:N" makes the logits of a chunk about as
    large as the input, divided by N; "auto" is "aspect_ratio:2". The logits of a chunk are computed again in backward,
    so retaining the graph and higher derivatives work whatever allow_retain_graph says; acc_policy and acc_dtype are
    checked and otherwise ignored: sums are always kept in at least float32.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: object = None

    def __post_init__(self):
        if self.acc_policy not in ("auto", "accurate", "balanced", "compact"):
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, colon, factor = self.chunking_method.partition(":")
            factor = factor if colon else "1"
            if name != "aspect_ratio" or not factor.isdigit() or int(factor) < 1:
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and (not isinstance(size, int) or size < 1):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")


def _chunk_rows(options, rows, in_features, classes):
    """Rows of a chunk."""
    method, size = options.chunking_method, options.batch_chunk_size
    if method == "auto":
        method = "aspect_ratio:2" if size is None else None
    if method is None:
        return max(1, rows if size is None else min(size, rows))
    wanted = -(-rows // max(1, -(-classes // max(1, in_features))))
    by_method = max(1, min((1 << max(wanted - 1, 0).bit_length()) // int(method.partition(":")[2] or 1), rows))
    if size is not None and min(size, rows) != by_method:
        raise ValueError(f"batch_chunk_size (={size}) and chunking_method ('{method}') give different chunk sizes "
                         f"({size} vs {by_method}); pass only one.")
    return by_method


class _Chunk(Function):
    """function(*tensors), computed again in backward instead of keeping what it made."""

    @staticmethod
    def forward(ctx, function, *tensors):
        ctx.function = function
        ctx.save_for_backward(*tensors)
        return function(*tensors)

    @staticmethod
    def backward(ctx, g):
        tensors, create_graph = ctx.saved_tensors, _C.is_grad_enabled()
        if not create_graph:
            tensors = [t.detach().requires_grad_(t.requires_grad) for t in tensors]
        with _C.enable_grad():
            y = ctx.function(*tensors)
        found = iter(grad(y, [t for t in tensors if t.requires_grad], g, create_graph=create_graph))
        return None, *(next(found) if t.requires_grad else None for t in tensors)


def _chunked(input, linear_weight, target, linear_bias, weight, reduction, ignore_index, options):
    rows = _chunk_rows(options, input.shape[0], input.shape[1], linear_weight.shape[0])
    parameters = (linear_weight,) if linear_bias is None else (linear_weight, linear_bias)

    def loss_of(y):
        return lambda x, *wb: _nn.cross_entropy(_nn.linear(x, *wb), y, weight, ignore_index=ignore_index,
                                                reduction="none" if reduction == "none" else "sum")

    parts = [_Chunk.apply(loss_of(y), x, *parameters)
             for x, y in zip(input.split(rows), target.split(rows), strict=True)]
    if reduction == "none":
        return _C.cat(parts)
    total = _C.stack(parts).sum()
    if reduction == "sum":
        return total
    counted = target[target != ignore_index]
    return total / (counted.numel() if weight is None else weight.index_select(0, counted).sum())


def linear_cross_entropy(input, linear_weight, target, *, linear_bias=None, weight=None, reduction="mean",
                         ignore_index=None, label_smoothing=0.0, options=None):
    """cross_entropy(linear(input, linear_weight, linear_bias), target): input (N, in) or (in).

    linear_weight (C, *, in), linear_bias (C, *); target: classes (N, *) or probabilities (N, C, *). options: a
    LinearCrossEntropyOptions computes the logits chunk by chunk (for classes as targets without smoothing).
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    if input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError("expected equal input and linear_weight last dimensions (in_features), got "
                           f"{input.shape[-1]} and {linear_weight.shape[-1]}, respectively")
    batch, (classes, *out_features, in_features) = tuple(input.shape[:-1]), tuple(linear_weight.shape)
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *out_features):
        raise RuntimeError(f"expected linear_bias shape {(classes, *out_features)}, got {tuple(linear_bias.shape)}")
    if out_features and not batch:
        raise RuntimeError(f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires "
                           f"batched input, (N, {in_features}), got unbatched input with shape {tuple(input.shape)}")
    logits_shape = (*batch, classes, *out_features)
    if tuple(target.shape) == logits_shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    ignore_index = -100 if ignore_index is None else ignore_index
    if options is not None:
        if (out_features or reduction not in ("mean", "sum", "none") or label_smoothing != 0.0
                or target.dtype is not _C.int64):
            warnings.warn("linear_cross_entropy: ``options`` ignored; chunked path needs reduction in {'mean', 'sum', "
                          "'none'}, label_smoothing == 0, target.dtype == int64, out_features == (). Got reduction="
                          f"{reduction!r}, label_smoothing={label_smoothing}, target.dtype={target.dtype}, "
                          f"out_features={tuple(out_features)}.", stacklevel=2)
        elif batch:
            return _chunked(input, linear_weight, target, linear_bias, weight, reduction, ignore_index, options)
        else:
            loss = _chunked(input.unsqueeze(0), linear_weight, target.unsqueeze(0), linear_bias, weight, reduction,
                            ignore_index, options)
            return loss.squeeze(0) if reduction == "none" else loss
    rows = math.prod(out_features, start=classes)
    bias = None if linear_bias is None else linear_bias.reshape(rows)
    logits = _nn.linear(input, linear_weight.reshape(rows, in_features), bias).reshape(logits_shape)
    return _nn.cross_entropy(logits, target, weight, ignore_index=ignore_index, reduction=reduction,
                             label_smoothing=label_smoothing)
