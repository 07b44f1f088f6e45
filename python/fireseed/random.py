"""The default generator: seeding, state, and a context manager that restores it.

On the CPU the streams are PyTorch's: after the same ``manual_seed`` the same calls give the same numbers.
"""

from __future__ import annotations

import contextlib

from . import _C

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]

default_generator = _C.default_generator


def manual_seed(seed):
    """Seeds the default generators of the CPU and of all GPUs; returns the CPU's. ``seed``: an int in [-2^63, 2^64)."""
    seed = int(seed)
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"Overflow when unpacking long long: the seed must be in [-2^63, 2^64), but got {seed}")
    _C._cuda_manual_seed_all(seed)
    return default_generator.manual_seed(seed)


def seed():
    """Seeds the default generator from the system's entropy; returns the seed, an int of 53 bits."""
    value = default_generator.seed()
    _C._cuda_manual_seed_all(value)
    return value


def initial_seed():
    """The seed that the default generator was last given."""
    return default_generator.initial_seed()


def get_rng_state():
    """The default generator's state, a uint8 tensor of 5056 bytes in PyTorch's layout."""
    return default_generator.get_state()


def set_rng_state(new_state):
    """Restores a state from :func:`get_rng_state`, fireseed's or PyTorch's."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(devices=None, enabled=True, _caller="fork_rng", _devices_kw="devices", device_type="cuda"):
    """Restores the default generators' states on leaving the block, unless not ``enabled``."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    gpus = _gpus(devices)
    gpu_states = [_C._cuda_get_rng_state(i) for i in gpus]
    try:
        yield
    finally:
        set_rng_state(state)
        for i, gpu_state in zip(gpus, gpu_states):
            _C._cuda_set_rng_state(i, gpu_state)


def _gpus(devices):
    """Indices of the GPUs that fork_rng restores: those named, by default all, if any was used yet."""
    import sys
    cuda = sys.modules.get("fireseed.cuda")
    if devices is None:
        return range(cuda.device_count()) if cuda is not None and cuda.is_initialized() else ()
    devices = list(devices)
    if not devices:
        return ()
    from . import cuda
    return [cuda._index(d, "fork_rng") for d in devices]
