"""The default generator: seeding, state, and a context manager that restores it.

On the CPU the streams are PyTorch's: after the same ``manual_seed`` the same calls give the same numbers.
"""

from __future__ import annotations

import contextlib

from . import _C

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]

default_generator = _C.default_generator


def manual_seed(seed):
    """Seeds the default generator and returns it. ``seed``: an int in [-2^63, 2^64)."""
    seed = int(seed)
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"Overflow when unpacking long long: the seed must be in [-2^63, 2^64), but got {seed}")
    return default_generator.manual_seed(seed)


def seed():
    """Seeds the default generator from the system's entropy; returns the seed, an int of 53 bits."""
    return default_generator.seed()


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
    """Restores the default generator's state on leaving the block, unless not ``enabled``."""
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
