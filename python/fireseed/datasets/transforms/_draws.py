"""What the random transforms draw, in torchvision's order: after one seed the same numbers come out.

generator None is the default generator, which a DataLoader makes one of each sample's own (Note [Random numbers in
samples] in utils/data/dataloader.py).
"""
import math

from ... import _C


def chance(p, generator):
    """True with probability p."""
    return _C.rand(1, generator=generator).item() < p


def below(n, generator):
    """An int from 0 to n - 1."""
    return int(_C.randint(0, n, (1,), generator=generator).item())


def uniform(low, high, generator):
    """A number from [low, high)."""
    return _C.empty(1).uniform_(low, high, generator=generator).item()


def permutation(n, generator):
    """0 to n - 1 in random order, a list."""
    return _C.randperm(n, generator=generator).tolist()


def place(h, w, height, width, generator):
    """(top, left) of a window (height, width) in an image (h, w)."""
    return below(h - height + 1, generator), below(w - width + 1, generator)


def window(h, w, scale, ratio, generator):
    """(height, width) of a window: its share of the area (uniform) and its aspect ratio (log-uniform) are drawn.

    The scheme of Szegedy et al., "Going deeper with convolutions" (2014). It may be larger than the image.
    """
    share = uniform(*scale, generator)
    log_ratio = uniform(math.log(ratio[0]), math.log(ratio[1]), generator)
    aspect, area = math.exp(log_ratio), h * w * share
    return int(round(math.sqrt(area / aspect))), int(round(math.sqrt(area * aspect)))


def normal(*shape, generator):
    """Standard normal numbers, float32."""
    return _C.empty(*shape, dtype=_C.float32).normal_(generator=generator)
