"""fireseed.cuda: NVIDIA GPUs, with torch.cuda's names. The plugin loads at the first question, never at import."""
import contextlib

from .. import _C
from .memory import (  # noqa: F401
    caching_allocator_alloc,
    empty_cache,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from .random import (  # noqa: F401
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .streams import (  # noqa: F401
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    is_current_stream_capturing,
    set_stream,
    stream,
)

OutOfMemoryError = _C._cuda_out_of_memory_error()
has_half = True
_initialized = False


def is_available():
    """Can tensors live on a GPU? If not, :func:`unavailable_reason` says why."""
    return device_count() > 0


def unavailable_reason():
    """Why :func:`is_available` is False, a sentence; None where it is True."""
    return None if is_available() else _C._cuda_reason()


def is_initialized():
    """Has this process used a GPU?"""
    return _initialized


def init():
    """Starts the CUDA runtime, which otherwise happens at the first use."""
    _need("init")


def device_count():
    """Number of usable GPUs; 0 without a driver or without the plugin."""
    global _initialized
    count = _C._cuda_device_count()
    _initialized = _initialized or count > 0
    return count


def _need(what):
    if not is_available():
        raise RuntimeError(f"cuda.{what}: CUDA is not available: {_C._cuda_reason()}")


def _index(device, what="device"):
    """A device, string, index or None (the current one) as an index; checks that it exists."""
    _need(what)
    if device is None:
        return _C._cuda_current_device()
    if isinstance(device, str):
        device = _C.device(device)
    if isinstance(device, _C.device):
        if device.type != "cuda":
            raise ValueError(f"cuda.{what}: expected a cuda device, but got: {device}")
        device = _C._cuda_current_device() if device.index is None else device.index
    if isinstance(device, bool) or not isinstance(device, int):
        raise TypeError(f"cuda.{what}: expected a device, a string or an index, got {type(device).__name__}")
    if not 0 <= device < device_count():
        raise RuntimeError(f"cuda.{what}: device cuda:{device} does not exist: there are {device_count()} CUDA devices "
                           "(invalid device ordinal)")
    return device


def current_device():
    """Index of this thread's current GPU."""
    _need("current_device")
    return _C._cuda_current_device()


def set_device(device):
    """Makes a GPU this thread's current one; negative indices change nothing."""
    if isinstance(device, int) and device < 0:
        return
    _C._cuda_set_device(_index(device, "set_device"))


class device(contextlib.ContextDecorator):
    """Makes a GPU the current one for a block. None or a negative index: no change."""

    def __init__(self, device):
        self.idx = -1 if device is None or isinstance(device, int) and device < 0 else _index(device)
        self.prev_idx = -1

    def __enter__(self):
        if self.idx >= 0:
            self.prev_idx = _C._cuda_current_device()
            _C._cuda_set_device(self.idx)
        return self

    def __exit__(self, *error):
        if self.idx >= 0:
            _C._cuda_set_device(self.prev_idx)
        return False


class device_of(device):
    """Makes a tensor's GPU the current one for a block; nothing for tensors on the CPU."""

    def __init__(self, obj):
        super().__init__(obj.get_device() if obj.is_cuda else -1)


def synchronize(device=None):
    """Waits until all work on a GPU is done; errors of kernels show here at the latest."""
    _C._cuda_synchronize(_index(device, "synchronize"))


class _CudaDeviceProperties:
    """What a GPU is: name, major, minor, total_memory (bytes), multi_processor_count, …"""

    def __init__(self, values):
        import uuid
        self.__dict__.update(values)
        self.uuid = uuid.UUID(bytes=values["uuid"])
        self.gcnArchName = ""

    def __repr__(self):
        return (f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
                f"total_memory={self.total_memory // 2**20}MB, multi_processor_count={self.multi_processor_count}, "
                f"uuid={self.uuid}, L2_cache_size={self.L2_cache_size // 2**20}MB)")


def get_device_properties(device=None):
    """Name, compute capability, memory and more of a GPU."""
    return _CudaDeviceProperties(_C._cuda_properties(_index(device, "get_device_properties")))


def get_device_name(device=None):
    """Name of a GPU."""
    return get_device_properties(device).name


def get_device_capability(device=None):
    """Compute capability of a GPU as (major, minor): (9, 0) is Hopper."""
    p = get_device_properties(device)
    return p.major, p.minor


def can_device_access_peer(device, peer_device):
    """Can one GPU read the other's memory directly?"""
    return _C._cuda_can_access_peer(_index(device, "can_device_access_peer"),
                                    _index(peer_device, "can_device_access_peer"))


def get_arch_list():
    """The architectures that the plugin has machine code for; empty without CUDA."""
    return ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120", "compute_80"] if is_available() else []


def is_bf16_supported(including_emulation=True):
    """Does the GPU compute in bfloat16? Without units for it (before Ampere) it is emulated through float32."""
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


def is_tf32_supported():
    """Has the GPU TF32 units?"""
    return is_available() and get_device_capability()[0] >= 8


def current_blas_handle():
    """There is no cuBLAS in fireseed: its matrix products are its own."""
    raise NotImplementedError("cuda.current_blas_handle: fireseed does not use cuBLAS")


def ipc_collect():
    """Memory is not shared between processes: nothing to collect."""


def utilization(device=None):
    """Needs NVML, which fireseed does not use; run nvidia-smi."""
    raise NotImplementedError("cuda.utilization: fireseed does not use NVML; run nvidia-smi")


def __getattr__(name):
    from importlib import import_module
    if name in ("amp", "nvtx", "graphs"):
        try:
            return import_module("." + name, __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    if name in ("CUDAGraph", "graph", "graph_pool_handle", "make_graphed_callables"):
        value = getattr(import_module(".graphs", __name__), name)
        globals()[name] = value
        return value
    if name.endswith("Tensor"):
        value = import_module("._tensor_types", __name__).tensor_type(name)
        if value is not None:
            globals()[name] = value
            return value
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
