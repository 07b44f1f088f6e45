"""fireseed.cuda.amp: the older names of fireseed.amp, for "cuda"."""
import functools

from ... import amp as _amp
from ...amp import GradScaler as _GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


class autocast(_amp.autocast):
    """amp.autocast("cuda", ...), float16 unless dtype says otherwise, as in PyTorch."""

    def __init__(self, enabled=True, dtype=None, cache_enabled=True):
        from ... import _C
        super().__init__("cuda", enabled=enabled, dtype=_C.float16 if dtype is None else dtype, cache_enabled=cache_enabled)


class GradScaler(_GradScaler):
    """amp.GradScaler("cuda", ...)."""

    def __init__(self, init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000, enabled=True):
        super().__init__("cuda", init_scale=init_scale, growth_factor=growth_factor, backoff_factor=backoff_factor,
                         growth_interval=growth_interval, enabled=enabled)


custom_fwd = functools.partial(_amp.custom_fwd, device_type="cuda")
custom_bwd = functools.partial(_amp.custom_bwd, device_type="cuda")
