"""Seeding of GPU random numbers: one default generator seeds the CPU and the GPUs (docs/cuda.md)."""
from .. import random as _random


def manual_seed(seed):
    """Seeds the random numbers of the current GPU; the generator is the default one, so the CPU's too."""
    from . import is_available
    if is_available():
        _random.manual_seed(seed)


def manual_seed_all(seed):
    """Seeds the random numbers of all GPUs."""
    manual_seed(seed)


def seed():
    """Seeds the GPU's random numbers from the system's entropy."""
    from . import is_available
    if is_available():
        _random.seed()


seed_all = seed


def initial_seed():
    """The seed that was last given."""
    return _random.initial_seed()


def get_rng_state(device="cuda"):
    """State of the random numbers, a uint8 tensor."""
    return _random.get_rng_state()


def set_rng_state(new_state, device="cuda"):
    """Restores a state from :func:`get_rng_state`."""
    _random.set_rng_state(new_state)


def get_rng_state_all():
    """The states of all GPUs."""
    from . import device_count
    return [get_rng_state()] * device_count()


def set_rng_state_all(new_states):
    """Restores the states of all GPUs."""
    for state in new_states:
        set_rng_state(state)
