"""Seeding of GPU random numbers: each GPU has a default generator, a seed and a counter (docs/cuda.md)."""
from .. import _C


def _device(device):
    from . import _index
    return _index(device, "random")


def manual_seed(seed):
    """Seeds the random numbers of the current GPU; without a GPU, of those to come."""
    from . import is_available
    if is_available():
        _C._cuda_manual_seed(_device(None), int(seed))
    else:
        _C._cuda_manual_seed_all(int(seed))


def manual_seed_all(seed):
    """Seeds the random numbers of all GPUs."""
    _C._cuda_manual_seed_all(int(seed))


def seed():
    """Seeds the current GPU's random numbers from the system's entropy."""
    manual_seed(_C.Generator().seed())


def seed_all():
    """Seeds all GPUs' random numbers from the system's entropy."""
    manual_seed_all(_C.Generator().seed())


def initial_seed():
    """The seed that the current GPU was last given."""
    return _C._cuda_initial_seed(_device(None))


def get_rng_state(device="cuda"):
    """State of a GPU's random numbers: a uint8 tensor on the CPU."""
    return _C._cuda_get_rng_state(_device(device))


def set_rng_state(new_state, device="cuda"):
    """Restores a state from :func:`get_rng_state`."""
    _C._cuda_set_rng_state(_device(device), new_state)


def get_rng_state_all():
    """The states of all GPUs."""
    from . import device_count
    return [get_rng_state(i) for i in range(device_count())]


def set_rng_state_all(new_states):
    """Restores the states of all GPUs."""
    for i, state in enumerate(new_states):
        set_rng_state(state, i)
