"""Brightness, contrast, saturation and hue of images: tensors (…, 1 or 3, H, W) and PIL images."""
from ... import _C
from .._files import needs


def _blend(image, other, factor):
    """factor * image + (1 - factor) * other, within the range of the image's dtype."""
    top = 1.0 if image.is_floating_point() else 255
    x = (factor * image.to(_C.float32) + (1 - factor) * other).clamp(0, top)
    return x.to(image.dtype)


def _channels(image, what):
    if image.dim() < 3 or image.shape[-3] not in (1, 3):
        raise TypeError(f"{what}: expected (…, 1 or 3, H, W), got {tuple(image.shape)}")
    return image.shape[-3]


def _grey(image):
    """Luma as float32, (…, 1, H, W); of integers a whole number, as in an image."""
    if image.shape[-3] == 1:
        return image.to(_C.float32)
    r, g, b = (image.select(-3, i).to(_C.float32) for i in range(3))
    y = (0.2989 * r + 0.587 * g + 0.114 * b).unsqueeze(-3)
    return y if image.is_floating_point() else y.floor()


def _check(factor, what):
    if factor < 0:
        raise ValueError(f"{what}: the factor ({factor}) is not non-negative")


def adjust_brightness(image, brightness_factor):
    """factor 0 is black, 1 the image, 2 twice as bright."""
    _check(brightness_factor, "adjust_brightness")
    if not isinstance(image, _C.Tensor):
        return needs("PIL.ImageEnhance", "data", "adjust_brightness").Brightness(image).enhance(brightness_factor)
    _channels(image, "adjust_brightness")
    return _blend(image, 0.0, brightness_factor)


def adjust_contrast(image, contrast_factor):
    """factor 0 is the mean grey everywhere, 1 the image."""
    _check(contrast_factor, "adjust_contrast")
    if not isinstance(image, _C.Tensor):
        return needs("PIL.ImageEnhance", "data", "adjust_contrast").Contrast(image).enhance(contrast_factor)
    _channels(image, "adjust_contrast")
    return _blend(image, _grey(image).mean((-3, -2, -1), keepdim=True), contrast_factor)


def adjust_saturation(image, saturation_factor):
    """factor 0 is grey, 1 the image, 2 twice as colourful."""
    _check(saturation_factor, "adjust_saturation")
    if not isinstance(image, _C.Tensor):
        return needs("PIL.ImageEnhance", "data", "adjust_saturation").Color(image).enhance(saturation_factor)
    return image if _channels(image, "adjust_saturation") == 1 else _blend(image, _grey(image), saturation_factor)


def adjust_hue(image, hue_factor):
    """Turns the circle of hues by the factor, from -0.5 to 0.5 of a full turn (both give the complementary hues)."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"adjust_hue: hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if not isinstance(image, _C.Tensor):
        if image.mode in ("L", "1", "I", "F"):
            return image
        Image = needs("PIL.Image", "data", "adjust_hue")
        h, s, v = image.convert("HSV").split()
        shift = int(hue_factor * 255) % 256
        return Image.merge("HSV", (h.point(lambda x: (x + shift) % 256), s, v)).convert(image.mode)
    if _channels(image, "adjust_hue") == 1:
        return image
    x = image.to(_C.float32) if image.is_floating_point() else image.to(_C.float32) / 255
    out = _from_hsv(*_shifted(_to_hsv(x), hue_factor))
    return out.to(image.dtype) if image.is_floating_point() else (out * 255).round().to(image.dtype)


def _shifted(hsv, turn):
    h, s, v = hsv
    return (h + turn) % 1.0, s, v


def _to_hsv(x):
    """Hue (of a turn), saturation and value of RGB in [0, 1] (Smith 1978)."""
    r, g, b = x.unbind(-3)
    v, low = x.amax(-3), x.amin(-3)
    span = v - low
    safe = _C.where(span == 0, 1.0, span)
    s = span / _C.where(v == 0, 1.0, v)
    h = _C.where(v == r, (g - b) / safe, _C.where(v == g, 2.0 + (b - r) / safe, 4.0 + (r - g) / safe))
    return (h / 6.0) % 1.0, s, v


def _from_hsv(h, s, v):
    """RGB of hue, saturation and value: each channel is v - v s max(0, min(k, 4 - k, 1)), k = (n + 6 h) mod 6."""
    def channel(n):
        k = (n + 6.0 * h) % 6.0
        return v - v * s * _C.minimum(k, 4.0 - k).clamp(0.0, 1.0)

    return _C.stack([channel(5.0), channel(3.0), channel(1.0)], -3)
