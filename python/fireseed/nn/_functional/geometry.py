"""Bilinear forms, pairwise distances and sampling on grids, composed of other operations."""
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


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """Samples (N, C, *in) at points in [-1, 1]: grid (N, *out, dims), x first -> (N, C, *out).

    mode: bilinear, nearest, bicubic (2-d only); padding_mode: zeros, border, reflection.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError("nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
                         "but got: "
                         f"'{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError("nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
                         "'reflection', but "
                         f"got: '{padding_mode}'")
    dims = input.dim() - 2
    if dims not in (2, 3) or grid.dim() != input.dim() or grid.shape[-1] != dims or grid.shape[0] != input.shape[0]:
        raise RuntimeError("grid_sample(): expected 4D or 5D input and grid with same number of dimensions and "
                           "batch size, "
                           f"but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}")
    sizes = input.shape[2:]
    n, c = input.shape[:2]
    out_shape = tuple(grid.shape[1:-1])
    flat = input.reshape(n, c, -1)
    coords = []
    for k in range(dims):  # grid's last dimension is x, y(, z); sizes are (D,) H, W
        size = sizes[dims - 1 - k]
        at = grid[..., k]
        at = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        if mode != "bicubic":
            at = _clip_coordinate(at, size, padding_mode, align_corners)
        coords.append(at)
    coords, sizes = coords[::-1], list(sizes)

    def pick(indices):
        """The values at integer positions (float tensors), zero outside."""
        if mode == "bicubic" and padding_mode != "zeros":
            indices = [_clip_coordinate(i, s, padding_mode, align_corners) for i, s in zip(indices, sizes,
                                                                                           strict=False)]
        inside, offset = None, None
        for i, s in zip(indices, sizes, strict=False):
            ok = (i >= 0) & (i <= s - 1)
            inside = ok if inside is None else inside & ok
            i = i.clamp(0, s - 1).to(_C.int64)
            offset = i if offset is None else offset * s + i
        values = flat.gather(2, offset.reshape(n, 1, -1).expand(n, c, -1)).reshape(n, c, *out_shape)
        return values * inside.unsqueeze(1).to(input.dtype)

    if mode == "nearest":
        return pick([at.detach().round() for at in coords])
    low = [at.detach().floor() for at in coords]
    if mode == "bilinear":
        out = None
        for corner in range(2 ** dims):
            weight, index = None, []
            for k in range(dims):
                up = corner >> k & 1
                t = coords[k] - low[k]
                w = t if up else 1 - t
                weight = w if weight is None else weight * w
                index.append(low[k] + up)
            term = pick(index) * weight.unsqueeze(1)
            out = term if out is None else out + term
        return out
    if dims != 2:
        raise RuntimeError("grid_sample(): bicubic interpolation only supports 4D input")
    out = None
    wy, wx = _cubic(coords[0] - low[0]), _cubic(coords[1] - low[1])
    for i in range(4):
        for j in range(4):
            term = pick([low[0] + (i - 1), low[1] + (j - 1)]) * (wy[i] * wx[j]).unsqueeze(1)
            out = term if out is None else out + term
    return out


def _cubic(t, a=-0.75):
    return (((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
            ((a + 2) * t - (a + 3)) * t * t + 1,
            ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
            ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a)


def _clip_coordinate(at, size, padding_mode, align_corners):
    if padding_mode == "border":
        return at.clamp(0, size - 1)
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if span == 0:
            return at * 0
        at = (at - low).abs()
        flips = (at.detach() / span).floor()
        extra = at - flips * span
        odd = (flips - (flips / 2).floor() * 2) == 1
        return _C.where(odd, span - extra + low, extra + low).clamp(0, size - 1)
    return at
