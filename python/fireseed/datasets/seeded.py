"""Random transforms that depend on (seed, epoch, index of the sample) alone, whoever reads the sample and when."""
import threading

from .. import _C
from ..utils.data import Dataset

_local = threading.local()
_MASK = (1 << 64) - 1


def source(generator):
    """What a random transform draws from: its own generator, this sample's (see Seeded), or, as None, the default."""
    return generator if generator is not None else getattr(_local, "generator", None)


def _mix(*numbers):
    """One number of 64 bits from several: SplitMix64's finaliser (Steele et al. 2014) over a running sum."""
    h = 0
    for n in numbers:
        h = (h + (n & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        h = ((h ^ h >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        h = ((h ^ h >> 27) * 0x94D049BB133111EB) & _MASK
        h ^= h >> 31
    return h


class Seeded(Dataset):
    """`dataset` whose random transforms draw from a generator of each sample's own, seeded by (seed, epoch, index).

    So a sample looks the same whatever was read before it, in whatever order and by however many workers. Call
    set_epoch(epoch) before each pass, or every pass sees the same crops. seed: by default fireseed's initial seed.
    """

    def __init__(self, dataset, seed=None):
        self.dataset = dataset
        self.seed = _C.default_generator.initial_seed() if seed is None else int(seed)
        self.epoch = 0

    def set_epoch(self, epoch):
        """Other draws for another pass over the data."""
        self.epoch = int(epoch)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        before = getattr(_local, "generator", None)
        key = index + len(self.dataset) if index < 0 else index
        _local.generator = _C.Generator().manual_seed(_mix(self.seed, self.epoch, key))
        try:
            return self.dataset[index]
        finally:
            _local.generator = before
