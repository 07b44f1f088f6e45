"""PyTorch's torch.utils; the parts load when they are used."""
_PARTS = ("data", "hooks", "checkpoint", "dlpack", "tensorboard", "benchmark", "_pytree")


def __getattr__(name):
    if name in _PARTS:
        import importlib
        return importlib.import_module("." + name, __name__)
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
