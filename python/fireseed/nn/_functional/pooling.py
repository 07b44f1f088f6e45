"""Fractional max pooling (Graham 2014), composed of gather and max."""
import math

from ... import _C


def _starts(sample, size, out, kernel):
    """Where the windows of one dimension start: samples (N, C) -> int64 (N, C, out)."""
    last = _C.full(tuple(sample.shape) + (1,), size - kernel, dtype=_C.int64)
    if out == 1:
        return last
    step = (size - kernel) / (out - 1)
    sample = sample.unsqueeze(-1)
    at = _C.arange(out - 1, dtype=sample.dtype)
    return _C.cat([((at + sample) * step).to(_C.int64) - (sample * step).to(_C.int64), last], -1)


def _fractional_max_pool(input, kernel_size, output_size, output_ratio, return_indices, samples, dims):
    name = f"fractional_max_pool{dims}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    kernel = (kernel_size,) * dims if isinstance(kernel_size, int) else tuple(kernel_size)
    if input.dim() not in (dims + 1, dims + 2):
        raise RuntimeError(f"{name}: expected a {dims + 1}- or {dims + 2}-d input, got shape {tuple(input.shape)}")
    sizes = tuple(input.shape[-dims:])
    if output_size is None:
        ratio = (output_ratio,) * dims if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
        out = tuple(int(n * r) for n, r in zip(sizes, ratio, strict=True))
    else:
        out = (output_size,) * dims if isinstance(output_size, int) else tuple(output_size)
    for n, k, m in zip(sizes, kernel, out, strict=True):
        if m < 1 or m + k - 1 > n:
            raise RuntimeError(f"{name}: pool size {kernel} too large relative to input size {sizes} for output {out}")
    x = input if input.dim() == dims + 2 else input.unsqueeze(0)
    n, c = x.shape[:2]
    if samples is None:
        samples = _C.rand(n, c, dims, dtype=x.dtype, device=x.device)
    elif input.dim() == dims + 1:
        samples = samples[:1]  # PyTorch reads the first entry, and takes more
    offset = _C.zeros((n, c) + (1,) * (2 * dims), dtype=_C.int64)  # (N, C, out..., window...)
    for d in range(dims):
        which = dims - 1 - d if dims == 2 else d  # PyTorch's order of the samples: width first in 2-d
        at = _starts(samples[:, :, which], sizes[d], out[d], kernel[d]).unsqueeze(-1) + _C.arange(kernel[d])
        shape = [n, c] + [1] * (2 * dims)
        shape[2 + d], shape[2 + dims + d] = out[d], kernel[d]
        offset = offset * sizes[d] + at.reshape(shape)
    area, window = math.prod(out), math.prod(kernel)
    offset = offset.reshape(n, c, area, window)
    windows = x.reshape(n, c, math.prod(sizes)).gather(2, offset.reshape(n, c, area * window)).reshape(offset.shape)
    values, at = windows.max(-1)
    places = offset.gather(-1, at.unsqueeze(-1)).squeeze(-1)
    values, places = values.reshape(n, c, *out), places.reshape(n, c, *out)
    if input.dim() == dims + 1:
        values, places = values.squeeze(0), places.squeeze(0)
    return (values, places) if return_indices else values


def fractional_max_pool2d(input, kernel_size, output_size=None, output_ratio=None, return_indices=False,
                          _random_samples=None):
    """Maxima over windows at random places: (N, C, H, W) -> (N, C, *output_size)."""
    return _fractional_max_pool(input, kernel_size, output_size, output_ratio, return_indices, _random_samples, 2)


def fractional_max_pool3d(input, kernel_size, output_size=None, output_ratio=None, return_indices=False,
                          _random_samples=None):
    """Maxima over windows at random places: (N, C, D, H, W) -> (N, C, *output_size)."""
    return _fractional_max_pool(input, kernel_size, output_size, output_ratio, return_indices, _random_samples, 3)
