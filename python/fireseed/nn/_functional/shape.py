"""Padding, pixel shuffles, unfold/fold, one_hot, bilinear forms and resampling, composed of other operations."""
import math

from ... import _C


def _tuple(value, n):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def pad(input, pad, mode="constant", value=None):
    """Pads the last len(pad) / 2 dimensions: pad = (left, right, top, bottom, ...); negative amounts crop.

    mode: constant (with value, 0 by default), reflect, replicate, circular. RuntimeError for impossible amounts.
    """
    pad = tuple(int(p) for p in pad)
    if len(pad) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {len(pad)} numbers: {pad}")
    if len(pad) // 2 > input.dim():
        raise RuntimeError(f"Padding length should be less than or equal to two times the input dimension but got padding "
                           f"length {len(pad)} and input of dimension {input.dim()}")
    if mode == "constant":
        return _pad_constant(input, pad, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}; there are constant, reflect, replicate, circular")
    spatial = len(pad) // 2
    if input.dim() not in (spatial + 1, spatial + 2):
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: "
                                  f"{mode} padding of {spatial} dimensions needs a {spatial + 1}- or {spatial + 2}-d "
                                  f"input, got {input.dim()} dimensions")
    for k in range(spatial):
        left, right, dim = pad[2 * k], pad[2 * k + 1], input.dim() - 1 - k
        if left or right:
            input = input.index_select(dim, _pad_index(input.shape[dim], left, right, mode, dim, input.device))
    return input


def _pad_constant(input, pad, value):
    sizes, at, crop = list(input.shape), [slice(None)] * input.dim(), [slice(None)] * input.dim()
    for k in range(len(pad) // 2):
        dim, left, right = input.dim() - 1 - k, pad[2 * k], pad[2 * k + 1]
        n = sizes[dim]
        if n + left + right < 0:
            raise RuntimeError(f"pad: the input size {n}, plus negative padding {left} and {right} resulted in a negative "
                               f"output size, which is invalid. Check dimension {dim} of your input.")
        sizes[dim] = n + left + right
        crop[dim] = slice(max(-left, 0), n - max(-right, 0))
        at[dim] = slice(max(left, 0), sizes[dim] - max(right, 0))
    if all(p == 0 for p in pad):
        return input.clone()
    out = _C.full(sizes, value, dtype=input.dtype, device=input.device)
    out[tuple(at)] = input[tuple(crop)]
    return out


def _pad_index(n, left, right, mode, dim, device):
    """The input index each output index of a padded dimension of size n reads."""
    if mode == "reflect" and (left >= n or right >= n):
        raise RuntimeError("Argument #4: Padding size should be less than the corresponding input dimension, but got: "
                           f"padding ({left}, {right}) at dimension {dim} of input size {n}")
    if mode == "circular" and (left > n or right > n):
        raise RuntimeError(f"Padding value causes wrapping around more than once: ({left}, {right}) for size {n}")
    if n + left + right <= 0 or n == 0:
        raise RuntimeError(f"{mode} padding: the input size {n} with padding ({left}, {right}) at dimension {dim} gives no "
                           "output")
    index = []
    for i in range(-left, n + right):
        if mode == "reflect":
            i = -i if i < 0 else 2 * (n - 1) - i if i >= n else i
        elif mode == "replicate":
            i = min(max(i, 0), n - 1)
        else:
            i %= n
        index.append(i)
    return _C.tensor(index, dtype=_C.int64, device=device)


def one_hot(tensor, num_classes=-1):
    """int64 classes (*) -> int64 zeros and ones (*, num_classes); num_classes=-1: the largest class plus 1."""
    if tensor.dtype != _C.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor.dtype}")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return _C.empty(tuple(tensor.shape) + (num_classes,), dtype=_C.int64, device=tensor.device)
    if int(tensor.min()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    largest = int(tensor.max())
    if num_classes == -1:
        num_classes = largest + 1
    elif num_classes < 1:
        raise RuntimeError(f"num_classes should be positive, got {num_classes}")
    elif num_classes <= largest:
        raise RuntimeError(f"Class values must be smaller than num_classes: got class {largest} and num_classes "
                           f"{num_classes}")
    out = _C.zeros(tuple(tensor.shape) + (num_classes,), dtype=_C.int64, device=tensor.device)
    return out.scatter_(-1, tensor.unsqueeze(-1), 1)


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


def pixel_shuffle(input, upscale_factor):
    """(*, C r^2, H, W) -> (*, C, H r, W r)."""
    r = upscale_factor
    if input.dim() < 3 or input.shape[-3] % (r * r):
        raise RuntimeError("pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
                           f"upscale_factor, but input.size(-3)={input.shape[-3] if input.dim() > 2 else None} is not "
                           f"divisible by {r * r}")
    *lead, c, h, w = input.shape
    n = len(lead)
    x = input.reshape(*lead, c // (r * r), r, r, h, w)
    x = x.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return x.reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input, downscale_factor):
    """(*, C, H r, W r) -> (*, C r^2, H, W)."""
    r = downscale_factor
    if input.dim() < 3 or input.shape[-2] % r or input.shape[-1] % r:
        raise RuntimeError("pixel_unshuffle expects height and width to be divisible by downscale_factor, but got input "
                           f"of shape {tuple(input.shape)} and downscale_factor {r}")
    *lead, c, h, w = input.shape
    n = len(lead)
    x = input.reshape(*lead, c, h // r, r, w // r, r)
    x = x.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return x.reshape(*lead, c * r * r, h // r, w // r)


def channel_shuffle(input, groups):
    """Interleaves the groups of channels of (N, C, *)."""
    if input.dim() < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    n, c, *rest = input.shape
    if groups <= 0 or c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(input.shape)


def _windows(size, kernel, dilation, padding, stride, name):
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, kernel, dilation, padding, stride)]
    if min(out) < 1:
        raise RuntimeError(f"{name}: spatial size {tuple(size)} with kernel_size={kernel}, dilation={dilation}, "
                           f"padding={padding}, stride={stride} gives {tuple(out)} windows, but there must be at least 1")
    return out


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Sliding blocks as columns: (N, C, H, W) -> (N, C kh kw, L)."""
    kernel, dilation, padding, stride = (_tuple(v, 2) for v in (kernel_size, dilation, padding, stride))
    if input.dim() == 3:
        return unfold(input.unsqueeze(0), kernel, dilation, padding, stride).squeeze(0)
    if input.dim() != 4:
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
                           f"dimensions for input, but got: {list(input.shape)}")
    n, c, h, w = input.shape
    rows, cols = _windows((h, w), kernel, dilation, padding, stride, "unfold")
    x = _pad_constant(input, (padding[1], padding[1], padding[0], padding[0]), 0) if any(padding) else input
    blocks = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            blocks.append(x[:, :, top:top + stride[0] * (rows - 1) + 1:stride[0],
                            left:left + stride[1] * (cols - 1) + 1:stride[1]].reshape(n, c, rows * cols))
    return _C.stack(blocks, 2).reshape(n, c * kernel[0] * kernel[1], rows * cols)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """The sum of sliding blocks: (N, C kh kw, L) -> (N, C, H, W); the transpose of unfold."""
    size = _tuple(output_size, 2)
    kernel, dilation, padding, stride = (_tuple(v, 2) for v in (kernel_size, dilation, padding, stride))
    if input.dim() == 2:
        return fold(input.unsqueeze(0), size, kernel, dilation, padding, stride).squeeze(0)
    if input.dim() != 3:
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
                           f"dimensions for input, but got: {list(input.shape)}")
    n, ck, length = input.shape
    area = kernel[0] * kernel[1]
    rows, cols = _windows(size, kernel, dilation, padding, stride, "fold")
    if ck % area:
        raise RuntimeError("Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
                           f"input.size(1)={ck} and kernel_size={kernel}.")
    if length != rows * cols:
        raise RuntimeError(f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
                           f"stride={stride}, expected size of input's dimension 2 to match the calculated number of "
                           f"sliding blocks {rows} * {cols} = {rows * cols}, but got input.size(2)={length}.")
    x = input.reshape(n, ck // area, kernel[0], kernel[1], rows, cols)
    height, width = size[0] + 2 * padding[0], size[1] + 2 * padding[1]
    out = _C.zeros(n, ck // area, height, width, dtype=input.dtype, device=input.device)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            out[:, :, top:top + stride[0] * (rows - 1) + 1:stride[0],
                left:left + stride[1] * (cols - 1) + 1:stride[1]] += x[:, :, i, j]
    return out[:, :, padding[0]:padding[0] + size[0], padding[1]:padding[1] + size[1]]


# ---- resampling -----------------------------------------------------------------------------------------------------
_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
                antialias=False):
    """Resamples the spatial dimensions of (N, C, *) to `size` or by `scale_factor`.

    mode: nearest, nearest-exact, linear (3-d input), bilinear, bicubic (4-d), trilinear (5-d), area.
    """
    dims = input.dim() - 2
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | "
                             "bicubic | trilinear")
    elif mode not in (*_LINEAR, "bicubic"):
        raise NotImplementedError(f"interpolate: unknown mode {mode!r}; there are nearest, nearest-exact, linear, bilinear, "
                                  "bicubic, trilinear, area")
    need = _LINEAR.get(mode, 2 if mode == "bicubic" else None)
    if dims not in (1, 2, 3) or need is not None and need != dims:
        raise NotImplementedError(f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.dim()}D) for the "
                                  "modes: nearest | linear | bilinear | bicubic | trilinear | area | nearest-exact "
                                  f"(got {mode})")
    if (size is None) == (scale_factor is None):
        raise ValueError("only one of size or scale_factor should be defined" if size is not None
                         else "either size or scale_factor should be defined")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    old = tuple(input.shape[2:])
    scales = (None,) * dims
    if size is not None:
        if recompute_scale_factor:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        new = _tuple(size, dims)
        if len(new) != dims:
            raise ValueError("Input and output must have the same number of spatial dimensions, but got input with spatial "
                             f"dimensions of {list(old)} and output size of {size}.")
    else:
        scales = _tuple(scale_factor, dims)
        if len(scales) != dims:
            raise ValueError("Input and scale_factor must have the same number of spatial dimensions, but got input with "
                             f"spatial dimensions of {list(old)} and scale_factor of shape {scale_factor}.")
        new = tuple(math.floor(n * s) for n, s in zip(old, scales))
        if recompute_scale_factor:
            scales = (None,) * dims
    if min(new) < 1 or min(old) < 1:
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input {tuple(old)} and output "
                           f"{tuple(new)}")
    if mode == "area":
        from .. import functional as F
        return (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[dims - 1](input, new)
    for k, (n, m, s) in enumerate(zip(old, new, scales)):
        input = _resample(input, 2 + k, n, m, s, mode, bool(align_corners), antialias)
    return input


def _resample(x, dim, n, m, scale, mode, align_corners, antialias):
    """Resamples one dimension from n to m elements: a weighted sum of index_selects."""
    dtype = _C.float64 if x.dtype == _C.float64 else _C.float32
    step = n / m if scale is None or scale <= 0 else 1.0 / scale
    at = _C.arange(m, dtype=dtype, device=x.device)
    if mode in ("nearest", "nearest-exact"):
        at = (at if mode == "nearest" else at + 0.5) * step
        return x.index_select(dim, at.floor().clamp(0, n - 1).to(_C.int64))
    if antialias:
        return _resample_antialias(x, dim, n, m, step, mode, align_corners)
    if align_corners:
        at = at * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        at = (at + 0.5) * step - 0.5
        if mode != "bicubic":
            at = at.clamp(min=0)
    low = at.floor()
    if mode != "bicubic":
        low = low.clamp(max=n - 1)
    t = (at - low).to(x.dtype)
    shape = [1] * x.dim()
    shape[dim] = m
    t = t.reshape(shape)
    low = low.to(_C.int64)
    if mode != "bicubic":
        a, b = x.index_select(dim, low), x.index_select(dim, (low + 1).clamp(max=n - 1))
        return a * (1 - t) + b * t
    a = -0.75  # Keys' cubic convolution, as PyTorch and OpenCV
    weights = (((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
               ((a + 2) * t - (a + 3)) * t * t + 1,
               ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
               ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a)
    out = None
    for k, w in enumerate(weights):
        term = x.index_select(dim, (low + (k - 1)).clamp(0, n - 1)) * w
        out = term if out is None else out + term
    return out


def _resample_antialias(x, dim, n, m, step, mode, align_corners):
    """One dimension with a filter widened by the reduction factor (Pillow's way), as a matrix product."""
    if align_corners:
        step = (n - 1) / (m - 1) if m > 1 else 0.0
    width = 1.0 if mode == "bilinear" else 2.0
    support = width * step if step >= 1.0 else width
    inverse = 1.0 / step if step >= 1.0 else 1.0
    rows = []
    for i in range(m):
        center = step * (i + 0.5)
        first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), n)
        row = [0.0] * n
        for j in range(first, last):
            d = abs((j - center + 0.5) * inverse)
            if mode == "bilinear":
                row[j] = max(1.0 - d, 0.0)
            else:
                a = -0.5
                row[j] = (((a + 2) * d - (a + 3)) * d * d + 1 if d < 1
                          else (((d - 5) * d + 8) * d - 4) * a if d < 2 else 0.0)
        total = sum(row)
        rows.append([w / total for w in row] if total else row)
    weights = _C.tensor(rows, dtype=x.dtype, device=x.device)  # (m, n)
    return (x.transpose(dim, -1) @ weights.transpose(0, 1)).transpose(dim, -1)


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """The old name of interpolate."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """interpolate(mode="nearest")."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """interpolate(mode="bilinear", align_corners=True)."""
    return interpolate(input, size, scale_factor, "bilinear", True)


def affine_grid(theta, size, align_corners=False):
    """Sampling points of affine maps: theta (N, 2, 3), size (N, C, H, W) -> (N, H, W, 2); or 3-d with theta (N, 3, 4)."""
    dims = len(size) - 2
    if dims not in (2, 3) or tuple(theta.shape[1:]) != (dims, dims + 1):
        raise ValueError(f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {tuple(size)}. "
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
        raise ValueError(f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: "
                         f"'{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError("nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but "
                         f"got: '{padding_mode}'")
    dims = input.dim() - 2
    if dims not in (2, 3) or grid.dim() != input.dim() or grid.shape[-1] != dims or grid.shape[0] != input.shape[0]:
        raise RuntimeError("grid_sample(): expected 4D or 5D input and grid with same number of dimensions and batch size, "
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
            indices = [_clip_coordinate(i, s, padding_mode, align_corners) for i, s in zip(indices, sizes)]
        inside, offset = None, None
        for i, s in zip(indices, sizes):
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
