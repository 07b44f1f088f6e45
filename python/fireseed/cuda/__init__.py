"""fireseed.cuda: this build has no CUDA plugin; the questions scripts ask at start are answered."""

_REASON = "this build of fireseed has no CUDA plugin"


def is_available():
    """Can tensors live on a GPU?"""
    return False


def device_count():
    """Number of usable GPUs."""
    return 0


def is_initialized():
    """Has the CUDA runtime been started?"""
    return False


def manual_seed(seed):
    """Seeds the current GPU's generator; nothing to do without one."""


def manual_seed_all(seed):
    """Seeds all GPUs' generators; nothing to do without one."""


def empty_cache():
    """Gives cached GPU memory back; nothing to do without a GPU."""


def synchronize(device=None):
    """Waits for the GPU; without one there is nothing to wait for."""
    raise RuntimeError(f"cuda.synchronize: {_REASON}")


def current_device():
    """Index of the current GPU."""
    raise RuntimeError(f"cuda.current_device: {_REASON}")


def is_bf16_supported():
    """Does the GPU compute in bfloat16?"""
    return False
