"""Normalisation, pooling, distances and embeddings composed of other operations."""
import warnings

from ... import _C
from . import _nn
from .shape import _pad_constant, _tuple


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1,
                  eps=1e-5):
    """Normalises each channel of each sample: (N, C, *); a batch norm of (1, N C, *)."""
    if use_input_stats:
        count = 1
        for n in input.shape[2:]:
            count *= n
        if count == 1:
            raise ValueError("Expected more than 1 spatial element when training, got input size "
                             f"{input.size()}")
    n, c = input.shape[:2]
    x = input.reshape(1, n * c, *input.shape[2:])
    mean = None if running_mean is None else running_mean.repeat(n)
    var = None if running_var is None else running_var.repeat(n)
    w = None if weight is None else weight.repeat(n)
    b = None if bias is None else bias.repeat(n)
    y = _nn.batch_norm(x, mean, var, w, b, use_input_stats, momentum, eps)
    if use_input_stats:
        with _C.no_grad():
            if mean is not None:
                running_mean.copy_(mean.reshape(n, c).mean(0))
            if var is not None:
                running_var.copy_(var.reshape(n, c).mean(0))
    return y.reshape(input.shape)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / sqrt(mean(x^2) + eps) * weight over the last len(normalized_shape) dimensions (Zhang and Sennrich 2019)."""
    shape = tuple(normalized_shape)
    if tuple(input.shape[-len(shape):]) != shape or not shape:
        raise RuntimeError(f"Given normalized_shape={list(shape)}, expected input with shape "
                           f"[*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}")
    x = input.float() if input.dtype in (_C.float16, _C.bfloat16) else input
    if eps is None:
        eps = _C.finfo(x.dtype).eps
    y = x * _C.rsqrt((x * x).mean(tuple(range(-len(shape), 0)), keepdim=True) + eps)
    y = y.to(input.dtype)
    return y if weight is None else y * weight


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta: (N, C, *)."""
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if input.numel() == 0:
        return input
    squares = (input * input).unsqueeze(1)
    pad = (size // 2, (size - 1) // 2)
    if input.dim() == 3:
        mean = _nn.avg_pool2d(_pad_constant(squares, (0, 0) + pad, 0), (size, 1), stride=1).squeeze(1)
    else:
        n, c, h = input.shape[:3]
        flat = squares.reshape(n, 1, c, h, -1)
        mean = _nn.avg_pool3d(_pad_constant(flat, (0, 0, 0, 0) + pad, 0), (size, 1, 1), stride=1)
        mean = mean.squeeze(1).reshape(input.shape)
    return input / (mean * alpha + k).pow(beta)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """x / max(|x|_p, eps) along dim."""
    y = input / input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return y if out is None else out.copy_(y)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x1 . x2 / max(|x1| |x2|, eps) along dim; the inputs broadcast."""
    w12 = (x1 * x2).sum(dim)
    n1 = (x1 * x1).sum(dim).clamp_min(eps * eps)
    n2 = (x2 * x2).sum(dim).clamp_min(eps * eps)
    return w12 / (n1.sqrt() * n2.sqrt())


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """|x1 - x2 + eps|_p over the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)


def pdist(input, p=2.0):
    """Distances between all pairs of rows i < j: (N, M) -> (N (N - 1) / 2)."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    n = input.shape[0]
    first = _C.tensor([i for i in range(n) for _ in range(i + 1, n)], dtype=_C.int64)
    second = _C.tensor([j for i in range(n) for j in range(i + 1, n)], dtype=_C.int64)
    return (input.index_select(0, first) - input.index_select(0, second)).norm(p, -1)


# ---- pooling --------------------------------------------------------------------------------------------------------
def _lp_pool(input, norm_type, kernel, stride, ceil_mode, dims):
    pool = (_nn.avg_pool1d, _nn.avg_pool2d, _nn.avg_pool3d)[dims - 1]
    kernel = _tuple(kernel, dims)
    area = 1
    for k in kernel:
        area *= k
    out = pool(input.pow(norm_type), kernel, stride, 0, ceil_mode)
    return (_C.sign(out) * _nn.relu(_C.abs(out))).mul(area).pow(1.0 / norm_type)


def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """(sum of x^p over windows)^(1/p): (N, C, L)."""
    return _lp_pool(input, float(norm_type), kernel_size, stride, ceil_mode, 1)


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """(sum of x^p over windows)^(1/p): (N, C, H, W)."""
    return _lp_pool(input, float(norm_type), kernel_size, stride, ceil_mode, 2)


def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """(sum of x^p over windows)^(1/p): (N, C, D, H, W)."""
    return _lp_pool(input, float(norm_type), kernel_size, stride, ceil_mode, 3)


def _max_unpool(input, indices, kernel_size, stride, padding, output_size, dims, name):
    kernel = _tuple(kernel_size, dims)
    stride = kernel if stride is None else _tuple(stride, dims)
    padding = _tuple(padding, dims)
    if indices.dtype != _C.int64:
        raise RuntimeError(f"{name}: elements in indices should be type int64 but got: {indices.dtype}")
    if indices.shape != input.shape:
        raise RuntimeError(f"{name}: Expected shape of indices to be same as that of the input tensor "
                           f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}")
    sizes = list(input.shape[-dims:])
    default = [(n - 1) * s + k - 2 * p for n, s, k, p in zip(sizes, stride, kernel, padding)]
    if output_size is None:
        out = default
    else:
        out = list(output_size)[-dims:]
        for k in range(dims):
            if not default[k] - stride[k] < out[k] < default[k] + stride[k]:
                raise ValueError(f'invalid output_size "{output_size}" (dim {k} must be between {default[k] - stride[k]} '
                                 f"and {default[k] + stride[k]})")
    lead = tuple(input.shape[:-dims])
    area = 1
    for n in out:
        area *= n
    if indices.numel() and (int(indices.max()) >= area or int(indices.min()) < 0):
        raise RuntimeError(f"{name}: Found an invalid max index: {int(indices.max())} for output size {out}")
    flat = _C.zeros(lead + (area,), dtype=input.dtype, device=input.device)
    flat = flat.scatter(-1, indices.reshape(lead + (-1,)), input.reshape(lead + (-1,)))
    return flat.reshape(lead + tuple(out))


def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Puts values back where max_pool1d(return_indices=True) took them from; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 1, "max_unpool1d")


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Puts values back where max_pool2d(return_indices=True) took them from; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 2, "max_unpool2d")


def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Puts values back where max_pool3d(return_indices=True) took them from; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 3, "max_unpool3d")


# ---- embeddings -----------------------------------------------------------------------------------------------------
def _renorm_rows(weight, index, max_norm, norm_type):
    """Scales the rows that are used and longer than max_norm down to it, in place (PyTorch's embedding_renorm_)."""
    with _C.no_grad():
        rows = index.detach().reshape(-1).unique()
        data = weight.detach()
        used = data.index_select(0, rows)
        norms = used.norm(norm_type, 1, keepdim=True)
        scale = _C.where(norms > max_norm, max_norm / (norms + 1e-7), _C.ones_like(norms))
        data.index_copy_(0, rows, used * scale)


def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """Rows of weight (V, E) by index (*) -> (*, E); the row padding_idx gets no gradient."""
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise AssertionError("Padding_idx must be within num_embeddings")
        if padding_idx < 0:
            padding_idx += weight.shape[0]
    if sparse:
        raise NotImplementedError("embedding: sparse gradients are not supported; use sparse=False")
    if max_norm is not None:
        _renorm_rows(weight, input, max_norm, norm_type)
    return _nn.embedding(input, weight, padding_idx, scale_grad_by_freq=scale_grad_by_freq)


def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode="mean",
                  sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None):
    """Sums, means or maxima of rows of weight over bags of indices: (B, N), or (N) with offsets (B) -> (B, E)."""
    if weight.dtype == _C.int64 and input.is_floating_point():
        warnings.warn("Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` "
                      "is deprecated, and should now be `embedding_bag(input, weight, ...)`.", stacklevel=2)
        weight, input = input, weight
    if per_sample_weights is not None:
        if per_sample_weights.shape != input.shape:
            raise ValueError(f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not None, then it "
                             f"must have the same shape as the input ({list(input.shape)})")
        if mode != "sum":
            raise NotImplementedError("embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
                                      f"for mode='sum' (got mode='{mode}'). Please open a feature request.")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if sparse:
        raise NotImplementedError("embedding_bag: sparse gradients are not supported; use sparse=False")
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed "
                             f"length sequences. However, found offsets of type {type(offsets)}")
        bags, length = input.shape
        starts = [i * length for i in range(bags)]
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    elif input.dim() == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        starts = offsets.tolist()
        if include_last_offset:
            starts = starts[:-1]
        if starts and starts[0] != 0:
            raise RuntimeError("offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                               f"position 0. However, got {starts[0]}")
        if starts and starts[-1] > input.shape[0]:
            raise RuntimeError(f"offsets[-1] can not be greater than input's length {input.shape[0]} but got offsets[-1] of "
                               f"{starts[-1]}")
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if padding_idx is not None:
        if not -weight.shape[0] <= padding_idx < weight.shape[0]:
            raise AssertionError("padding_idx must be within the number of embeddings")
        padding_idx %= weight.shape[0]
    if max_norm is not None:
        _renorm_rows(weight, input, max_norm, norm_type)
    ends = starts[1:] + [input.shape[0]]
    bag_of = [b for b, (s, e) in enumerate(zip(starts, ends)) for _ in range(s, e)]
    rows = _nn.embedding(input, weight, scale_grad_by_freq=scale_grad_by_freq)  # (n, E)
    if padding_idx is not None:
        keep = (input != padding_idx).tolist()
        kept = [i for i, k in enumerate(keep) if k]
        bag_of = [bag_of[i] for i in kept]
        kept = _C.tensor(kept, dtype=_C.int64)
        rows = rows.index_select(0, kept)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.index_select(0, kept)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    zeros = _C.zeros(len(starts), weight.shape[1], dtype=weight.dtype, device=weight.device)
    if mode == "max":
        bags, at = [], 0
        for b in range(len(starts)):
            n = bag_of.count(b)
            bags.append(rows[at:at + n].max(0)[0] if n else zeros[b])
            at += n
        return _C.stack(bags) if bags else zeros
    out = zeros.index_add(0, _C.tensor(bag_of, dtype=_C.int64), rows) if bag_of else zeros + rows.sum() * 0
    if mode == "mean":
        counts = [0] * len(starts)
        for b in bag_of:
            counts[b] += 1
        out = out / _C.tensor([max(n, 1) for n in counts], dtype=out.dtype).unsqueeze(1)
    return out
