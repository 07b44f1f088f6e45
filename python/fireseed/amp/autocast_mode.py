"""autocast: inside the block, products run in bfloat16 or float16 and what needs it in float32."""
import collections.abc
import functools

from .. import _C

__all__ = ["autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype", "is_autocast_available"]

_chosen = set()  # device types whose dtype was set by hand


def is_autocast_available(device_type):
    """Can autocast work on devices of this type ("cpu", "cuda")?"""
    if not isinstance(device_type, str):
        raise TypeError(f"is_autocast_available: expected a str such as 'cpu', got {type(device_type).__name__}")
    return device_type in ("cpu", "cuda")


def get_autocast_dtype(device_type):
    """The lower dtype of autocast where none is named: bfloat16, but float16 on GPUs that lack units for it."""
    if device_type == "cuda" and device_type not in _chosen:
        from .. import cuda
        if cuda.is_available() and not cuda.is_bf16_supported(including_emulation=False):
            return _C.float16
    return _C._get_autocast_dtype(device_type)


def set_autocast_dtype(device_type, dtype):
    """Sets the lower dtype of autocast on devices of this type."""
    _C._set_autocast_dtype(device_type, dtype)
    _chosen.add(device_type)


class autocast:
    """Casts the inputs of operations by PyTorch's lists within a block or, as a decorator, within a function.

    device_type: "cuda" or "cpu": the devices whose operations are meant. dtype: bfloat16 (the default) or float16.
    enabled=False turns autocast off within a block. cache_enabled: keeps the casts of parameters within the block.
    Run the forward pass and the loss inside; backward outside.
    """

    def __init__(self, device_type, dtype=None, enabled=True, cache_enabled=None):
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}': expected 'cpu' or "
                               "'cuda'")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if not isinstance(self.fast_dtype, _C.dtype):
            raise TypeError(f"autocast: dtype must be bfloat16 or float16, got {dtype!r}")
        self._cache_enabled = _C.is_autocast_cache_enabled() if cache_enabled is None else bool(cache_enabled)
        self._enabled = bool(enabled)
        import warnings
        if self._enabled and self.fast_dtype not in (_C.bfloat16, _C.float16):
            warnings.warn(f"In {device_type.upper()} autocast, but the target dtype is not supported. Disabling "
                          f"autocast.\n{device_type.upper()} Autocast only supports dtypes of bfloat16 and float16 "
                          f"currently, got {self.fast_dtype}.", stacklevel=2)
            self._enabled = False
        if self._enabled and device_type == "cuda":
            from .. import cuda
            if not cuda.is_available():
                warnings.warn(f"User provided device_type of 'cuda', but CUDA is not available. Disabling "
                              f"({cuda.unavailable_reason()})", stacklevel=2)
                self._enabled = False
        self._before = []  # one entry a block, so that one object may be entered again

    def __enter__(self):
        self._before.append((_C.is_autocast_enabled(self.device), _C._get_autocast_dtype(self.device),
                             _C.is_autocast_cache_enabled()))
        _C.set_autocast_enabled(self.device, self._enabled)
        if self._enabled:
            _C._set_autocast_dtype(self.device, self.fast_dtype)
        _C.autocast_increment_nesting()
        _C.set_autocast_cache_enabled(self._cache_enabled)
        return self

    def __exit__(self, *error):
        if _C.autocast_decrement_nesting() == 0:
            _C.clear_autocast_cache()
        enabled, dtype, cache = self._before.pop()
        _C.set_autocast_enabled(self.device, enabled)
        _C._set_autocast_dtype(self.device, dtype)
        _C.set_autocast_cache_enabled(cache)
        return False

    def __call__(self, function):
        @functools.wraps(function)
        def autocasting(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return autocasting


def _cast(value, device_type, dtype):
    if isinstance(value, _C.Tensor):
        fits = value.is_floating_point() and value.device.type == device_type and value.dtype is not _C.float64
        return value.to(dtype) if fits else value
    if isinstance(value, (str, bytes)):
        return value
    if isinstance(value, collections.abc.Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(v, device_type, dtype) for v in value)
    return value


def custom_fwd(fwd=None, *, device_type="cuda", cast_inputs=None):
    """Decorates ``forward`` of an autograd.Function: with cast_inputs, floating tensors are cast to it and autocast is
    off inside; without, forward runs with the state of its caller, and so does a backward under :func:`custom_bwd`."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args, **kwargs):
        context = args[0]
        context._dtype = get_autocast_dtype(device_type)
        on = _C.is_autocast_enabled(device_type)
        context._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(bwd=None, *, device_type="cuda"):
    """Decorates ``backward`` of an autograd.Function: it runs with the autocast state of its forward."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(*args, **kwargs):
        context = args[0]
        with autocast(device_type=device_type, enabled=context._fwd_used_autocast, dtype=context._dtype):
            return bwd(*args, **kwargs)

    return decorated
