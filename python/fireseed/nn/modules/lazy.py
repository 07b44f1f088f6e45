"""LazyModuleMixin: layers that take their input size from the first input."""
import warnings

from ..parameter import is_lazy


class LazyModuleMixin:
    """Gives a layer lazy parameters: before the first forward `initialize_parameters(*inputs)` makes them real.

    `cls_to_become`: the ordinary class the module then turns into.
    """

    cls_to_become = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)
        warnings.warn("Lazy modules are a new feature under heavy development so changes to the API or "
                      "functionality can "
                      "happen at any moment.", stacklevel=3)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for table in (self._parameters, self._buffers):
            for name, value in table.items():
                if value is not None and name not in self._non_persistent_buffers_set:
                    destination[prefix + name] = value if is_lazy(value) or keep_vars else value.detach()

    def _lazy_load_hook(self, state_dict, prefix, *unused):
        """A lazy parameter takes the shape of what is loaded into it."""
        for table in (self._parameters, self._buffers):
            for name, value in table.items():
                key = prefix + name
                if key in state_dict and value is not None and is_lazy(value) and not is_lazy(state_dict[key]):
                    value.materialize(state_dict[key].shape)

    def initialize_parameters(self, *args, **kwargs):
        """Makes the lazy parameters real, from the inputs of the first forward; every lazy layer defines it."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self):
        """Whether any parameter or buffer of this module (not of its children) has no shape yet."""
        return any(v is not None and is_lazy(v) for table in (self._parameters, self._buffers) for v in table.values())

    def _infer_parameters(self, module, args, kwargs=None):
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {self._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become
