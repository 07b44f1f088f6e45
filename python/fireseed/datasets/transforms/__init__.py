"""Transforms of samples, with torchvision's names, for tensors (…, C, H, W) and PIL images.

Random ones draw from their `generator`, or from fireseed's default generator, in torchvision's order: after one seed
the same crops and flips come out. In a DataLoader with num_workers (0, too) they depend on seed, pass and index alone.
"""
import numbers

from ... import _C
from . import _draws, functional
from . import functional as F
from .functional import InterpolationMode

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "Grayscale", "InterpolationMode", "Lambda", "Normalize", "OneHot",
    "PILToTensor", "Pad", "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing", "RandomHorizontalFlip",
    "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip", "Resize", "ToDtype", "ToImage", "ToPILImage", "ToTensor",
    "functional"]


def _chance(p, name):
    if not isinstance(p, numbers.Number) or not 0 <= p <= 1:
        raise ValueError(f"{name}: p should be a number from 0 to 1, got {p!r}")
    return float(p)


class _Transform:
    """Shows its arguments, which are its public attributes."""

    def __repr__(self):
        shown = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_") and v is not None)
        return f"{type(self).__name__}({shown})"


class Compose(_Transform):
    """One transform after the other."""

    def __init__(self, transforms):
        if callable(transforms):
            raise TypeError(f"Compose: expected a list of transforms, got {transforms!r}")
        self.transforms = list(transforms)
        for t in self.transforms:
            if not callable(t):
                raise TypeError(f"Compose: expected transforms (things to call), got {t!r}")

    def __call__(self, x):
        for t in self.transforms:
            x = t(x)
        return x

    def __repr__(self):
        return "Compose(" + "".join(f"\n    {t!r}" for t in self.transforms) + "\n)"


class Lambda(_Transform):
    """Any function as a transform."""

    def __init__(self, lambd):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__}")
        self.lambd = lambd

    def __call__(self, x):
        return self.lambd(x)


class ToTensor(_Transform):
    """A float32 tensor (C, H, W) in [0, 1] of a uint8 image: PIL, array (H, W[, C]) or tensor (C, H, W)."""

    def __call__(self, pic):
        return F.to_tensor(pic)


class PILToTensor(_Transform):
    """A tensor (C, H, W) of a PIL image, its numbers unchanged."""

    def __call__(self, pic):
        return F.pil_to_tensor(pic)


class ToPILImage(_Transform):
    """A PIL image of a tensor (C, H, W) or an array (H, W[, C])."""

    def __init__(self, mode=None):
        self.mode = mode

    def __call__(self, pic):
        return F.to_pil_image(pic, self.mode)


class ConvertImageDtype(_Transform):
    """Another dtype at the same scale."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __call__(self, image):
        return F.convert_image_dtype(image, self.dtype)


class ToImage(_Transform):
    """torchvision v2's: a tensor (C, H, W) of a PIL image or an array, its numbers unchanged; tensors pass."""

    def __call__(self, pic):
        return F.to_image(pic)


class ToDtype(_Transform):
    """torchvision v2's: another dtype; with scale=True at the same scale, else the same numbers."""

    def __init__(self, dtype, scale=False):
        self.dtype, self.scale = dtype, scale

    def __call__(self, image):
        return F.convert_image_dtype(image, self.dtype) if self.scale else image.to(self.dtype)


class Normalize(_Transform):
    """(x - mean) / std for each channel of a float tensor."""

    def __init__(self, mean, std, inplace=False):
        self.mean, self.std, self.inplace = mean, std, inplace

    def __call__(self, tensor):
        return F.normalize(tensor, self.mean, self.std, self.inplace)


class Resize(_Transform):
    """Resizes to (h, w), or the shorter side to one number."""

    def __init__(self, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
        if not isinstance(size, int) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size, self.interpolation, self.max_size, self.antialias = size, interpolation, max_size, antialias

    def __call__(self, image):
        return F.resize(image, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(_Transform):
    """The window (h, w) in the middle."""

    def __init__(self, size):
        self.size = F._pair(size, "CenterCrop")

    def __call__(self, image):
        return F.center_crop(image, self.size)


class Pad(_Transform):
    """Adds borders: one number, (left and right, top and bottom) or (left, top, right, bottom)."""

    def __init__(self, padding, fill=0, padding_mode="constant"):
        F._sides(padding)
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def __call__(self, image):
        return F.pad(image, self.padding, self.fill, self.padding_mode)


class Grayscale(_Transform):
    """Luma in 1 channel or 3 equal ones."""

    def __init__(self, num_output_channels=1):
        self.num_output_channels = num_output_channels

    def __call__(self, image):
        return F.rgb_to_grayscale(image, self.num_output_channels)


class OneHot(_Transform):
    """A class as a float vector of num_classes with a 1: a target_transform."""

    def __init__(self, num_classes, dtype=None):
        self.num_classes, self.dtype = num_classes, dtype

    def __call__(self, target):
        return F.one_hot(target, self.num_classes, self.dtype)


class _Random(_Transform):
    """Draws from self.generator, or from the default generator where that is None."""

    generator = None

    def _hit(self):
        return _draws.chance(self.p, self.generator)


class RandomHorizontalFlip(_Random):
    """The mirror image, with probability p."""

    def __init__(self, p=0.5, *, generator=None):
        self.p, self.generator = _chance(p, "RandomHorizontalFlip"), generator

    def __call__(self, image):
        return F.hflip(image) if self._hit() else image


class RandomVerticalFlip(_Random):
    """Upside down, with probability p."""

    def __init__(self, p=0.5, *, generator=None):
        self.p, self.generator = _chance(p, "RandomVerticalFlip"), generator

    def __call__(self, image):
        return F.vflip(image) if self._hit() else image


class RandomCrop(_Random):
    """A window (h, w) at a random place, after padding; pad_if_needed pads images that are smaller than it."""

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode="constant", *, generator=None):
        self.size = F._pair(size, "RandomCrop")
        self.padding, self.pad_if_needed, self.fill, self.padding_mode = padding, pad_if_needed, fill, padding_mode
        self.generator = generator

    def __call__(self, image):
        if self.padding is not None:
            image = F.pad(image, self.padding, self.fill, self.padding_mode)
        height, width = self.size
        w, h = F.get_image_size(image)
        if self.pad_if_needed and (w < width or h < height):
            image = F.pad(image, [max(width - w, 0), max(height - h, 0)], self.fill, self.padding_mode)
            w, h = F.get_image_size(image)
        if h < height or w < width:
            raise ValueError(f"RandomCrop: Required crop size {(height, width)} is larger than input image size {(h, w)}; "
                             "padding= or pad_if_needed=True make room")
        if (h, w) == (height, width):
            return image  # one place only: nothing is drawn
        return F.crop(image, *_draws.place(h, w, height, width, self.generator), height, width)


class RandomResizedCrop(_Random):
    """A window of random area (scale, a share), aspect (ratio) and place, resized to (h, w)."""

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation=InterpolationMode.BILINEAR,
                 antialias=True, *, generator=None):
        self.size = F._pair(size, "RandomResizedCrop")
        if not 0 < scale[0] <= scale[1] or not 0 < ratio[0] <= ratio[1]:
            raise ValueError("RandomResizedCrop: scale and ratio should be of kind (min, max), above 0; got "
                             f"{scale} and {ratio}")
        self.scale, self.ratio, self.interpolation, self.antialias = scale, ratio, interpolation, antialias
        self.generator = generator

    def __call__(self, image):
        return F.resized_crop(image, *self._window(*F.get_image_size(image)), self.size, self.interpolation,
                              self.antialias)

    def _window(self, w, h):
        """(top, left, height, width): ten attempts, then the largest window in the middle of an allowed ratio."""
        for _ in range(10):
            height, width = _draws.window(h, w, self.scale, self.ratio, self.generator)
            if 0 < width <= w and 0 < height <= h:
                return *_draws.place(h, w, height, width, self.generator), height, width
        height, width = h, w
        if w / h < min(self.ratio):
            height = int(round(w / min(self.ratio)))
        elif w / h > max(self.ratio):
            width = int(round(h * max(self.ratio)))
        return (h - height) // 2, (w - width) // 2, height, width


class RandomRotation(_Random):
    """Turns by an angle drawn from (-degrees, degrees) or (low, high)."""

    def __init__(self, degrees, interpolation=InterpolationMode.NEAREST, expand=False, center=None, fill=0, *,
                 generator=None):
        self.degrees = _range(degrees, "RandomRotation", "degrees", 0)
        self.interpolation, self.expand, self.center, self.fill = interpolation, expand, center, fill
        self.generator = generator

    def __call__(self, image):
        angle = _draws.uniform(*self.degrees, self.generator)
        return F.rotate(image, angle, self.interpolation, self.expand, self.center, self.fill)


def _range(value, name, what, middle, bounds=(-float("inf"), float("inf"))):
    """(low, high) of a range, or of a number: so far about `middle`, cut to bounds; ValueError outside of them."""
    if isinstance(value, numbers.Number):
        if value < 0:
            raise ValueError(f"{name}: if {what} is a single number, it must be non negative, got {value}")
        return max(middle - value, bounds[0]), min(middle + value, bounds[1])
    low, high = value
    if not bounds[0] <= low <= high <= bounds[1]:
        raise ValueError(f"{name}: {what} should be (low, high) within {bounds}, got {value}")
    return float(low), float(high)


class ColorJitter(_Random):
    """Changes brightness, contrast, saturation (factors about 1) and hue (turns about 0) at random, in random order."""

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0, *, generator=None):
        positive = (0.0, float("inf"))
        self.brightness = _range(brightness, "ColorJitter", "brightness", 1, positive)
        self.contrast = _range(contrast, "ColorJitter", "contrast", 1, positive)
        self.saturation = _range(saturation, "ColorJitter", "saturation", 1, positive)
        if isinstance(hue, numbers.Number) and hue > 0.5:
            raise ValueError(f"ColorJitter: hue should be at most 0.5, half a turn, got {hue}")
        self.hue = _range(hue, "ColorJitter", "hue", 0, (-0.5, 0.5))
        self.generator = generator

    def __call__(self, image):
        order = _draws.permutation(4, self.generator)
        ways = ((F.adjust_brightness, self.brightness, 1), (F.adjust_contrast, self.contrast, 1),
                (F.adjust_saturation, self.saturation, 1), (F.adjust_hue, self.hue, 0))
        drawn = [None if low == high == middle else _draws.uniform(low, high, self.generator)
                 for _, (low, high), middle in ways]
        for i in order:
            if drawn[i] is not None:
                image = ways[i][0](image, drawn[i])
        return image


class RandomErasing(_Random):
    """With probability p, fills a window of random area and aspect with value (Zhong et al. 2017). Tensors only."""

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False, *, generator=None):
        self.p = _chance(p, "RandomErasing")
        if not 0 <= scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"RandomErasing: scale should be between 0 and 1, ratio above 0; got {scale} and {ratio}")
        if not isinstance(value, numbers.Number) and value != "random" and not isinstance(value, (tuple, list)):
            raise ValueError(f"RandomErasing: value should be a number, one for each channel, or 'random'; got {value!r}")
        self.scale, self.ratio, self.value, self.inplace = scale, ratio, value, inplace
        self.generator = generator

    def _value(self, channels, h, w):
        if self.value == "random":
            return _draws.normal(channels, h, w, generator=self.generator)
        if isinstance(self.value, numbers.Number):
            return self.value
        if len(self.value) not in (1, channels):
            raise ValueError(f"RandomErasing: value should have 1 or {channels} numbers, one for each channel, got "
                             f"{len(self.value)}")
        return _C.tensor(self.value, dtype=_C.float32)[:, None, None]

    def __call__(self, image):
        if not isinstance(image, _C.Tensor):
            raise TypeError(f"RandomErasing: expected a tensor image, got {type(image).__name__}; put ToTensor before it")
        if not self._hit():
            return image
        channels, h, w = F.get_dimensions(image)
        for _ in range(10):
            height, width = _draws.window(h, w, self.scale, self.ratio, self.generator)
            if height < h and width < w:
                value = self._value(channels, height, width)
                top, left = _draws.place(h, w, height, width, self.generator)
                return F.erase(image, top, left, height, width, value, self.inplace)
        return image


class RandomApply(_Random):
    """All the given transforms in turn, with probability p; otherwise none."""

    def __init__(self, transforms, p=0.5, *, generator=None):
        self.transforms, self.p, self.generator = list(transforms), _chance(p, "RandomApply"), generator

    def __call__(self, x):
        if not self._hit():
            return x
        for t in self.transforms:
            x = t(x)
        return x


class RandomChoice(_Random):
    """One of the given transforms, each as likely as the other."""

    def __init__(self, transforms, *, generator=None):
        self.transforms, self.generator = list(transforms), generator
        if not self.transforms:
            raise ValueError("RandomChoice: expected at least one transform")

    def __call__(self, x):
        return self.transforms[_draws.below(len(self.transforms), self.generator)](x)
