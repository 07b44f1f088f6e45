"""Random streams keyed by sample: `random` and `numpy.random` follow the sample that the calling thread reads.

See Note [Keyed samples] in cpp/bind/data_loader.cpp. The module-level functions of both modules (`random.random()`,
`numpy.random.rand()`, also their `seed` and `get_state`) are replaced by wrappers, once, when the first pass with keyed
streams starts. Outside samples a wrapper calls the original function; inside one, the same method of the sample's own
`random.Random` or `numpy.random.RandomState`. So threads cannot disturb each other, nor the program's own streams.
"""
import functools
import random
import sys
import zlib

from .... import _C

_RANDOM, _NUMPY = 0, 1  # slots of _C._sample_stream
_done = set()


def _wrapper(slot, name, original):
    stream = _C._sample_stream

    @functools.wraps(original)
    def call(*args, **kwargs):
        own = stream(slot)
        return original(*args, **kwargs) if own is None else getattr(own, name)(*args, **kwargs)

    return call


def _replace(module, instance, slot, factory, more=()):
    """Replaces the functions of a module that are methods of its hidden instance; more: (name, method) pairs."""
    _C._set_stream_factory(slot, factory)
    names = {name: name for name in dir(module) if getattr(getattr(module, name), "__self__", None) is instance}
    for name, method in {**names, **dict(more)}.items():
        setattr(module, name, _wrapper(slot, method, getattr(module, name)))


def install():
    """Makes the module-level functions of `random`, and of `numpy.random` where numpy is loaded, follow the samples."""
    if _RANDOM not in _done:
        _done.add(_RANDOM)
        _replace(random, random._inst, _RANDOM, random.Random)
    if _NUMPY not in _done and "numpy" in sys.modules:
        import numpy.random  # which numpy loads when it is first used
        _done.add(_NUMPY)
        _replace(numpy.random, numpy.random.mtrand._rand, _NUMPY, numpy.random.RandomState,
                 (("seed", "seed"), ("ranf", "random_sample"), ("sample", "random_sample")))


def word(index, times=0):
    """The number that stands for an index in keys; times: how often the pass has read it before."""
    if type(index) is not int:
        index = zlib.crc32(repr(index).encode()) if not hasattr(index, "__index__") else index.__index__()
    return index if times == 0 else _C._sample_key(index, times)


def seed_process(seed):
    """Seeds the global streams of a worker process, as PyTorch does: fireseed's, random's and numpy's."""
    from ....random import manual_seed

    manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed([seed & 0xffffffff, seed >> 32 & 0xffffffff])
