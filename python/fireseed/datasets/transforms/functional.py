"""Transforms as functions, with torchvision's names: of PIL images, and of tensors (…, H, W)."""
import enum
import math

from ... import _C
from .._files import needs
from ._colour import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation  # noqa: F401

# What the modes are in PIL.Image.Resampling.
_PIL_MODES = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


class InterpolationMode(enum.Enum):
    """How resize computes pixels. Tensors: NEAREST, NEAREST_EXACT, BILINEAR, BICUBIC; PIL images: all."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


def _is_pil(image):
    return type(image).__module__.partition(".")[0] == "PIL" or hasattr(image, "getbands")


def _check(image, what):
    """True for a PIL image, False for a tensor of an image; TypeError otherwise."""
    if isinstance(image, _C.Tensor):
        if image.dim() < 2:
            raise TypeError(f"{what}: expected an image tensor (…, H, W), got shape {tuple(image.shape)}")
        return False
    if _is_pil(image):
        return True
    hint = "; ToTensor first makes one of an array" if type(image).__module__ == "numpy" else ""
    raise TypeError(f"{what}: expected a PIL image or a tensor (…, H, W), got {type(image).__name__}{hint}")


def get_image_size(image):
    """[width, height]."""
    return list(image.size) if _check(image, "get_image_size") else [image.shape[-1], image.shape[-2]]


def get_dimensions(image):
    """[channels, height, width]."""
    if _check(image, "get_dimensions"):
        return [len(image.getbands()), image.height, image.width]
    return [1 if image.dim() == 2 else image.shape[-3], image.shape[-2], image.shape[-1]]


def pil_to_tensor(pic):
    """A tensor (C, H, W) of a PIL image's own numbers: uint8, or int32, int16, float32 for the modes I, I;16 and F."""
    import numpy as np
    if not _is_pil(pic):
        raise TypeError(f"pil_to_tensor: pic should be PIL Image. Got {type(pic).__name__}")
    array = np.array(pic)
    if array.dtype == np.uint16:
        array = array.astype(np.int16)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    x = _C.from_numpy(np.ascontiguousarray(array))
    return x.unsqueeze(0) if x.dim() == 2 else x.permute(2, 0, 1).contiguous()


def to_image(pic):
    """A tensor (C, H, W) of a PIL image or an array (H, W) or (H, W, C), its numbers unchanged; a tensor is itself."""
    if isinstance(pic, _C.Tensor):
        return pic
    if _is_pil(pic):
        return pil_to_tensor(pic)
    if type(pic).__module__ != "numpy" or not hasattr(pic, "ndim"):
        raise TypeError(f"pic should be PIL Image, ndarray or tensor. Got {type(pic).__name__}")
    import numpy as np
    if pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    array = pic[:, :, None] if pic.ndim == 2 else pic
    return _C.from_numpy(np.array(array.transpose(2, 0, 1), order="C"))


def to_tensor(pic):
    """A tensor (C, H, W) of a PIL image or an array (H, W) or (H, W, C); uint8 becomes float32 in [0, 1].

    A tensor keeps its shape, as the data sets of fireseed give (C, H, W); its uint8, too, become float32 in [0, 1].
    """
    x = to_image(pic)
    return x.to(_C.get_default_dtype()) / 255 if x.dtype == _C.uint8 else x.contiguous()


def to_pil_image(pic, mode=None):
    """A PIL image of a tensor (C, H, W) or (H, W), or an array (H, W) or (H, W, C); floats in [0, 1] are scaled to 255."""
    Image = needs("PIL.Image", "data", "to_pil_image")
    import numpy as np
    if isinstance(pic, _C.Tensor):
        x = pic.detach()
        if x.dim() == 2:
            x = x.unsqueeze(0)
        if x.dim() != 3 or x.shape[0] > 4:
            raise ValueError(f"to_pil_image: expected a tensor (C, H, W) of 1 to 4 channels, got {tuple(pic.shape)}")
        if x.is_floating_point() and mode != "F":
            x = (x * 255).to(_C.uint8)
        array = x.permute(1, 2, 0).contiguous().numpy()
    elif isinstance(pic, np.ndarray) and pic.ndim in (2, 3):
        array = pic if pic.ndim == 3 else pic[:, :, None]
    else:
        raise TypeError(f"to_pil_image: pic should be Tensor or ndarray. Got {type(pic).__name__}")
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    return image if mode is None or mode == image.mode else image.convert(mode)


def convert_image_dtype(image, dtype):
    """Another dtype at the same scale: floats span [0, 1], integers [0, their largest value]."""
    source, float_out = image.dtype, dtype.is_floating_point
    if source == dtype:
        return image
    if image.is_floating_point():
        if float_out:
            return image.to(dtype)
        from ..._python_api import iinfo
        return (image * (iinfo(dtype).max + 1 - 1e-3)).to(dtype)
    from ..._python_api import iinfo
    most = iinfo(source).max
    if float_out:
        return image.to(dtype) / most
    target = iinfo(dtype).max
    if most > target:
        return _C.div(image, (most + 1) // (target + 1), rounding_mode="floor").to(dtype)
    return image.to(dtype) * ((target + 1) // (most + 1))


def normalize(tensor, mean, std, inplace=False):
    """(x - mean) / std for each channel of a float tensor (…, C, H, W); mean and std: sequences of C or one number."""
    if not isinstance(tensor, _C.Tensor):
        raise TypeError(f"normalize: img should be Tensor Image. Got {type(tensor).__name__}; put ToTensor before it")
    if not tensor.is_floating_point():
        raise TypeError(f"normalize: Input tensor should be a float tensor. Got {tensor.dtype}; put ToTensor before it")
    if tensor.dim() < 3:
        raise ValueError("normalize: expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = "
                         f"{tuple(tensor.shape)}")
    mean, std = (_C.as_tensor(v, dtype=tensor.dtype) for v in (mean, std))
    if (std == 0).any():
        raise ValueError("normalize: std evaluated to zero after conversion, leading to division by zero")
    for name, v in (("mean", mean), ("std", std)):
        if v.dim() > 1 or v.numel() not in (1, tensor.shape[-3]) and tensor.shape[-3] != 1:
            raise ValueError(f"normalize: {name} has {v.numel()} values, the image {tensor.shape[-3]} channels")
    mean, std = (v.reshape(-1, 1, 1) for v in (mean, std))
    return tensor.sub_(mean).div_(std) if inplace else (tensor - mean) / std


def hflip(image):
    """The mirror image: left is right."""
    return image.transpose(0) if _check(image, "hflip") else image.flip(-1)


def vflip(image):
    """Upside down."""
    return image.transpose(1) if _check(image, "vflip") else image.flip(-2)


def crop(image, top, left, height, width):
    """The window (height, width) whose corner is at (top, left); what lies outside the image is 0."""
    if _check(image, "crop"):
        return image.crop((left, top, left + width, top + height))
    h, w = image.shape[-2:]
    inside = image[..., max(top, 0):max(top + height, 0), max(left, 0):max(left + width, 0)]
    padding = [max(-left, 0), max(-top, 0), max(left + width - w, 0), max(top + height - h, 0)]
    if not any(padding):
        return inside
    padding = [min(padding[0], width), min(padding[1], height), min(padding[2], width), min(padding[3], height)]
    return pad(inside, padding)


def _pair(size, what):
    if isinstance(size, int):
        return size, size
    size = tuple(int(n) for n in size)
    if len(size) == 1:
        return size * 2
    if len(size) != 2:
        raise ValueError(f"{what}: please provide only two dimensions (h, w) for size, got {size}")
    return size


def center_crop(image, output_size):
    """The window (h, w) in the middle; an image smaller than it is padded with 0."""
    th, tw = _pair(output_size, "center_crop")
    w, h = get_image_size(image)
    if tw > w or th > h:
        left, top = max((tw - w) // 2, 0), max((th - h) // 2, 0)
        image = pad(image, [left, top, max((tw - w + 1) // 2, 0), max((th - h + 1) // 2, 0)])
        w, h = get_image_size(image)
        if (tw, th) == (w, h):
            return image
    return crop(image, int(round((h - th) / 2.0)), int(round((w - tw) / 2.0)), th, tw)


def _sides(padding):
    """(left, top, right, bottom) of torchvision's padding argument: one number, (x, y) or all four."""
    padding = [padding] if isinstance(padding, int) else [int(n) for n in padding]
    if len(padding) not in (1, 2, 4):
        raise ValueError("pad: Padding must be an int or a 1, 2, or 4 element tuple, not a "
                         f"{len(padding)} element tuple")
    left, top = padding[0], padding[1 if len(padding) > 1 else 0]
    return (left, top, padding[2], padding[3]) if len(padding) == 4 else (left, top, left, top)


def _source_index(n, before, after, mode):
    """For each place of a padded axis of n elements the element it copies."""
    i = _C.arange(-before, n + after)
    if mode == "edge":
        return i.clamp(0, n - 1)
    period = max(2 * n - 2, 1) if mode == "reflect" else 2 * n
    i = i % period
    return _C.where(i < n, i, period - i if mode == "reflect" else period - 1 - i)


def pad(image, padding, fill=0, padding_mode="constant"):
    """Adds borders: padding is one number, (left and right, top and bottom), or (left, top, right, bottom).

    padding_mode: constant (fill), edge (the last pixel again), reflect (without repeating the last pixel), symmetric
    (repeating it). fill: a number, for PIL images also a tuple of one a channel.
    """
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError("pad: Padding mode should be either constant, edge, reflect or symmetric")
    pil = _check(image, "pad")
    left, top, right, bottom = _sides(padding)
    w, h = get_image_size(image)
    if min(left, top, right, bottom) < 0:
        raise ValueError(f"pad: padding must not be negative, got {(left, top, right, bottom)}; crop() removes borders")
    if padding_mode == "reflect" and (max(left, right) >= w or max(top, bottom) >= h):
        raise ValueError(f"pad: reflect padding {(left, top, right, bottom)} must be smaller than the image, {w} x {h}")
    if pil:
        if padding_mode == "constant":
            expand, bands = needs("PIL.ImageOps", "data", "pad").expand, len(image.getbands())
            fill = (fill,) * bands if isinstance(fill, int) and bands > 1 else fill
            return expand(image, border=(left, top, right, bottom), fill=fill)
        return to_pil_image(pad(pil_to_tensor(image), padding, fill, padding_mode), image.mode)
    if padding_mode == "constant":
        from ...nn.functional import pad as constant_pad
        return constant_pad(image, (left, right, top, bottom), value=fill)
    rows, columns = _source_index(h, top, bottom, padding_mode), _source_index(w, left, right, padding_mode)
    return image.index_select(-2, rows).index_select(-1, columns)


def _resized(w, h, size, max_size):
    """(height, width) of an image resized to `size`: (h, w), or the length of the shorter side."""
    if not isinstance(size, int) and len(size) == 2:
        if max_size is not None:
            raise ValueError("resize: max_size should only be passed if size specifies the length of the smaller edge")
        return tuple(int(n) for n in size)
    size = size if isinstance(size, int) else int(size[0])
    short, long = (w, h) if w <= h else (h, w)
    new_short, new_long = size, int(size * long / short)
    if max_size is not None:
        if max_size <= size:
            raise ValueError(f"resize: max_size = {max_size} must be strictly greater than the requested size for the "
                             f"smaller edge size = {size}")
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_long, new_short) if w <= h else (new_short, new_long)


def resize(image, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
    """The image at another size: (h, w), or one number for the shorter side (max_size bounds the longer one).

    antialias smooths tensors on the way down, as PIL does with images.
    """
    pil = _check(image, "resize")
    mode = interpolation.value if isinstance(interpolation, InterpolationMode) else (
        next((k for k, v in _PIL_MODES.items() if v == interpolation), interpolation))
    w, h = get_image_size(image)
    if not w or not h:
        raise ValueError(f"resize: the image has no pixels ({h} x {w})")
    height, width = _resized(w, h, size, max_size)
    if height < 1 or width < 1:
        raise ValueError(f"resize: sizes must be positive, got {height} x {width}")
    if (h, w) == (height, width):
        return image
    if mode not in _PIL_MODES or not pil and mode in ("box", "hamming", "lanczos"):
        raise ValueError(f"resize: unknown interpolation {interpolation}" + (
            "" if pil else " for tensors; NEAREST, NEAREST_EXACT, BILINEAR and BICUBIC are known"))
    if pil:
        return image.resize((width, height), _PIL_MODES[mode])
    from ...nn.functional import interpolate
    lead = image.shape[:-2]
    x = image.reshape(-1, 1, h, w)
    smooth = mode in ("bilinear", "bicubic")
    whole = not x.is_floating_point()
    if whole and (smooth and x.dtype != _C.uint8 or not smooth):
        x = x.to(_C.float64 if image.dtype in (_C.int32, _C.int64) else _C.float32)
    # Bytes go by PIL's two passes, columns first, as it keeps (and clamps) bytes between them.
    for to in ((h, width), (height, width)) if x.dtype == _C.uint8 else ((height, width),):
        x = interpolate(x, size=to, mode=mode, antialias=antialias and smooth)
    if whole and x.is_floating_point():
        x = x.round().to(image.dtype)
    return x.reshape(*lead, height, width)


def resized_crop(image, top, left, height, width, size, interpolation=InterpolationMode.BILINEAR, antialias=True):
    """crop, then resize to `size`."""
    return resize(crop(image, top, left, height, width), size, interpolation, antialias=antialias)


def rotate(image, angle, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=0):
    """Turns the image by `angle` degrees counter-clockwise about its middle or `center` (x, y); corners get `fill`.

    interpolation: NEAREST or BILINEAR. expand: PIL images only, the result holds the whole turned image.
    """
    mode = interpolation.value if isinstance(interpolation, InterpolationMode) else (
        next((k for k, v in _PIL_MODES.items() if v == interpolation), interpolation))
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"rotate: interpolation must be NEAREST or BILINEAR, got {interpolation}")
    if _check(image, "rotate"):
        bands = len(image.getbands())
        fill = (fill,) * bands if isinstance(fill, int) and bands > 1 else fill
        return image.rotate(angle, _PIL_MODES[mode], expand, center, fillcolor=fill)
    if expand:
        raise ValueError("rotate: expand=True is for PIL images; pad a tensor before turning it")
    h, w = image.shape[-2:]
    cx, cy = center if center is not None else (w / 2, h / 2)
    turn = math.radians(angle)
    # The place in the image that each pixel's middle comes from, relative to the centre.
    y, x = (_C.arange(n, dtype=_C.float64) + 0.5 - c for n, c in ((h, cy), (w, cx)))
    y = y.unsqueeze(1)
    from_x = math.cos(turn) * x - math.sin(turn) * y + cx
    from_y = math.sin(turn) * x + math.cos(turn) * y + cy
    inside = (from_x >= 0) & (from_x < w) & (from_y >= 0) & (from_y < h)
    if mode == "nearest":
        columns, rows = (v.floor().long().clamp(0, n - 1) for v, n in ((from_x, w), (from_y, h)))
        out = image[..., rows, columns]
    else:
        out = _bilinear(image.to(_C.float32), from_x - 0.5, from_y - 0.5)
        out = out.to(image.dtype) if image.is_floating_point() else out.round().to(image.dtype)
    return _C.where(inside, out, _C.full((), fill, dtype=image.dtype))


def _bilinear(image, x, y):
    """The image at (x, y) between its pixels' middles; the edge's pixels go on outside."""
    h, w = image.shape[-2:]
    x0, y0 = x.floor(), y.floor()
    fx, fy = (x - x0).to(image.dtype), (y - y0).to(image.dtype)
    left, right = x0.long().clamp(0, w - 1), (x0.long() + 1).clamp(0, w - 1)
    top, bottom = y0.long().clamp(0, h - 1), (y0.long() + 1).clamp(0, h - 1)
    upper = image[..., top, left] * (1 - fx) + image[..., top, right] * fx
    lower = image[..., bottom, left] * (1 - fx) + image[..., bottom, right] * fx
    return upper * (1 - fy) + lower * fy


def rgb_to_grayscale(image, num_output_channels=1):
    """Luma, 0.2989 R + 0.587 G + 0.114 B (ITU-R BT.601), in 1 channel or 3 equal ones."""
    if num_output_channels not in (1, 3):
        raise ValueError("rgb_to_grayscale: num_output_channels should be either 1 or 3")
    if _check(image, "rgb_to_grayscale"):
        grey = image.convert("L")
        return grey if num_output_channels == 1 else grey.convert("RGB")
    if image.dim() < 3 or image.shape[-3] not in (1, 3):
        raise TypeError(f"rgb_to_grayscale: expected (…, 1 or 3, H, W), got {tuple(image.shape)}")
    if image.shape[-3] == 3:
        r, g, b = (image.select(-3, i).to(_C.float32 if not image.is_floating_point() else image.dtype) for i in range(3))
        image = (0.2989 * r + 0.587 * g + 0.114 * b).to(image.dtype).unsqueeze(-3)
    if num_output_channels == 3:
        image = _C.cat([image] * 3, -3)
    return image


to_grayscale = rgb_to_grayscale


def erase(image, i, j, h, w, v, inplace=False):
    """The tensor with v (a number or a tensor that broadcasts) in the window (h, w) at row i, column j."""
    if not isinstance(image, _C.Tensor):
        raise TypeError(f"erase: expected a tensor image, got {type(image).__name__}")
    out = image if inplace else image.clone()
    out[..., i:i + h, j:j + w] = v
    return out


def one_hot(target, num_classes, dtype=None):
    """A class, or a tensor of classes (…), as a float vector (…, num_classes) with 1 at the class."""
    index = _C.as_tensor(target, dtype=_C.int64)
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= num_classes):
        raise ValueError(f"one_hot: classes must be from 0 to {num_classes - 1}, got {int(index.min())} to "
                         f"{int(index.max())}")
    out = _C.zeros(*index.shape, num_classes, dtype=dtype or _C.get_default_dtype())
    return out.scatter_(-1, index.unsqueeze(-1), 1)
