"""Bilinear forms, pairwise distances and sampling points, composed of other operations."""
from ... import _C


def bilinear(input1, input2, weight, bias=None):
    """y_k = x1 A_k x2 + b_k: (*, in1), (*, in2), weight (out, in1, in2) -> (*, out)."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError("bilinear(): input batch dimensions do not match: got "
                           f"{tuple(input1.shape)} and {tuple(input2.shape)}")
    out, in1, in2 = weight.shape
    if input1.shape[-1] != in1 or input2.shape[-1] != in2:
        raise RuntimeError(f"bilinear(): input sizes do not match weight size: got {input1.shape[-1]} and "
                           f"{input2.shape[-1]} but expected {in1} and {in2}")
    lead = tuple(input1.shape[:-1])
    x1, x2 = input1.reshape(-1, in1), input2.reshape(-1, in2)
    left = x1 @ weight.permute(1, 0, 2).reshape(in1, out * in2)  # (B, out * in2)
    y = (left.reshape(-1, out, in2) * x2.unsqueeze(1)).sum(-1)
    y = y.reshape(lead + (out,))
    return y if bias is None else y + bias


def pdist(input, p=2.0):
    """Distances between all pairs of rows i < j: (N, M) -> (N (N - 1) / 2)."""
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    n = input.shape[0]
    first = _C.tensor([i for i in range(n) for _ in range(i + 1, n)], dtype=_C.int64)
    second = _C.tensor([j for i in range(n) for j in range(i + 1, n)], dtype=_C.int64)
    return (input.index_select(0, first) - input.index_select(0, second)).norm(p, -1)


def affine_grid(theta, size, align_corners=False):
    """Sampling points of affine maps: theta (N, 2, 3), size (N, C, H, W) -> (N, H, W, 2); 3-d: theta (N, 3, 4)."""
    dims = len(size) - 2
    if dims not in (2, 3) or tuple(theta.shape[1:]) != (dims, dims + 1):
        raise ValueError(f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size "
                         f"{tuple(size)}. "
                         f"Got {tuple(theta.shape)}.")
    axes = []
    for n in size[2:]:
        t = _C.linspace(-1, 1, n, dtype=theta.dtype, device=theta.device) if n > 1 else _C.zeros(
            1, dtype=theta.dtype, device=theta.device)
        axes.append(t if align_corners or n == 1 else t * ((n - 1) / n))
    shape = tuple(size[2:])
    base = [axis.reshape((1,) * k + (-1,) + (1,) * (dims - 1 - k)).expand(shape) for k, axis in enumerate(axes)]
    base = _C.stack(base[::-1] + [_C.ones_like(base[0])], -1).reshape(-1, dims + 1)  # (prod, dims + 1): x, y(, z), 1
    return (base @ theta.transpose(1, 2)).reshape(size[0], *shape, dims)
