"""PyTorch's torch.utils; the parts load when they are used."""
_PARTS = ("data", "hooks", "checkpoint", "dlpack", "tensorboard")


def __getattr__(name):
    if name in _PARTS:
        import importlib
        return importlib.import_module("." + name, __name__)
    raise AttributeError(f"module 'fireseed.utils' has no attribute '{name}'")
