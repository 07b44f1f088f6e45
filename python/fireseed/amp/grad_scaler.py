"""GradScaler: the loss is multiplied by a scale, so that gradients in float16 do not vanish."""
import enum
import inspect
import math

from .. import _C

__all__ = ["GradScaler", "OptState"]


class OptState(enum.Enum):
    """What has happened to an optimizer since the last update()."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


class GradScaler:
    """Scales losses for float16 training and skips steps whose gradients overflowed.

    ``scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()``. The scale starts at init_scale, is
    multiplied by growth_factor after growth_interval steps without an overflow, and by backoff_factor after one.
    bfloat16 has float32's range and needs no scaling. (Micikevicius et al., "Mixed precision training", 2018.)
    """

    def __init__(self, device="cuda", init_scale=2.0**16, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000,
                 enabled=True):
        self._device = device
        self._enabled = bool(enabled)
        if self._device == "cuda" and self._enabled:
            from .. import cuda
            if not cuda.is_available():
                import warnings
                warnings.warn("GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
                self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale, self._scale = init_scale, None
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval, self._init_growth_tracker = growth_interval, 0
        self._growth_tracker = None
        self._per_optimizer = {}

    def _state_of(self, optimizer):
        return self._per_optimizer.setdefault(id(optimizer), {"stage": OptState.READY, "found_inf": {}})

    def _started(self, name):
        if self._scale is None:
            raise AssertionError(f"Attempted {name} but _scale is None.  This may indicate your script did not use "
                                 "scaler.scale(loss or outputs) earlier in the iteration.")

    def _start(self, device):
        self._scale = _C.full((), self._init_scale, dtype=_C.float32, device=device)
        self._growth_tracker = self._init_growth_tracker

    def scale(self, outputs):
        """outputs (a tensor, or lists, tuples and iterators of them) times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, _C.Tensor):
            if self._scale is None:
                self._start(outputs.device)
            return outputs * self._scale.to(device=outputs.device, non_blocking=True)
        if hasattr(outputs, "__iter__") and not isinstance(outputs, (str, bytes)):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _unscale_grads_(self, optimizer, allow_fp16):
        """Divides gradients by the scale, in place; found_inf by device: 1.0 where one of them is not finite."""
        groups = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not allow_fp16 and p.grad.dtype == _C.float16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                groups.setdefault(p.grad.device, []).append(p.grad)
        inverse = self._scale.double().reciprocal().float()
        found = {}
        with _C.no_grad():
            for device, grads in groups.items():
                largest = _C._foreach_total_norm(grads, math.inf)  # NaN where one of them is NaN
                found[device] = (~_C.isfinite(largest)).to(_C.float32)
                _C._foreach_scale_(grads, inverse.to(device))
        return found

    def unscale_(self, optimizer):
        """Divides the gradients of an optimizer's parameters by the scale, for instance to clip them before step()."""
        if not self._enabled:
            return
        self._started("unscale_")
        state = self._state_of(optimizer)
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        state["found_inf"] = self._unscale_grads_(optimizer, False)
        state["stage"] = OptState.UNSCALED

    def step(self, optimizer, *args, **kwargs):
        """optimizer.step(*args, **kwargs) with unscaled gradients; skipped where one of them is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._started("step")
        state = self._state_of(optimizer)
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            # The optimizer's own step reads these.
            if "grad_scaler" in inspect.signature(optimizer.step).parameters:
                kwargs["grad_scaler"] = self
            else:
                if state["stage"] is OptState.READY:
                    state["found_inf"] = self._unscale_grads_(optimizer, True)
                optimizer.grad_scale = None
                optimizer.found_inf = sum(state["found_inf"].values())
            result = optimizer.step(*args, **kwargs)
            state["stage"] = OptState.STEPPED
            return result
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if not state["found_inf"]:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        if not any(found.item() for found in state["found_inf"].values()):
            result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def update(self, new_scale=None):
        """Adapts the scale, or sets it to new_scale (a number or one-element float tensor). Call once an iteration."""
        if not self._enabled:
            return
        self._started("update")
        if new_scale is not None:
            if isinstance(new_scale, _C.Tensor):
                if new_scale.numel() != 1 or new_scale.requires_grad or not new_scale.is_floating_point():
                    raise AssertionError("new_scale should be a float or a 1-element floating point tensor with "
                                         "requires_grad=False.")
                new_scale = new_scale.item()
            self._scale.fill_(float(new_scale))
        else:
            found = [f for state in self._per_optimizer.values() for f in state["found_inf"].values()]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            if any(f.item() for f in found):
                self._scale.mul_(self._backoff_factor)
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    grown = self._scale.item() * self._growth_factor
                    if grown <= 3.4028234663852886e38:  # float32's largest
                        self._scale.fill_(grown)
                    self._growth_tracker = 0
        self._per_optimizer = {}

    def get_scale(self):
        """The scale as a Python float."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self):
        """What the scale is multiplied by to grow."""
        return self._growth_factor

    def set_growth_factor(self, new_factor):
        """Sets what the scale is multiplied by to grow."""
        self._growth_factor = new_factor

    def get_backoff_factor(self):
        """What the scale is multiplied by after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor):
        """Sets what the scale is multiplied by after an overflow."""
        self._backoff_factor = new_factor

    def get_growth_interval(self):
        """Steps without overflow before the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval):
        """Sets the steps without overflow before the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self):
        """Does this scaler do anything?"""
        return self._enabled

    def _get_growth_tracker(self):
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker

    def state_dict(self):
        """The scale and its settings; empty where disabled. Take it after update()."""
        if not self._enabled:
            return {}
        return {"scale": self.get_scale(), "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._get_growth_tracker()}

    def load_state_dict(self, state_dict):
        """Restores what state_dict() gave."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance "
                               "of GradScaler.")
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker = self._init_growth_tracker

    def __getstate__(self):
        if self._enabled and self._per_optimizer:
            raise AssertionError("A GradScaler instance may only be pickled at the beginning of an iteration, or at the "
                                 "end after scaler.update().")
        state = self.__dict__.copy()
        if self._enabled:
            state["_init_scale"], state["_init_growth_tracker"] = self.get_scale(), self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
