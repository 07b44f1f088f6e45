"""`torch` and its submodules as names of fireseed: as_torch() and the import hook behind it."""
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec

# Packages built on PyTorch's C++ library, and what to do without them.
FOREIGN = {
    "torchaudio": "read sound with fireseed.datasets.read_wav or soundfile",
    "torchtext": "read text with fireseed.datasets.TextLines",
    "torch_scatter": "use Tensor.scatter_reduce or Tensor.index_add",
    "torch_sparse": "use dense tensors or torch.gather and Tensor.index_add",
    "torch_cluster": "",
    "torch_xla": "",
    "flash_attn": "use torch.nn.functional.scaled_dot_product_attention",
    "xformers": "use torch.nn.functional.scaled_dot_product_attention",
    "apex": "use torch.amp and torch.nn.LayerNorm",
    "bitsandbytes": "",
}


# What torch's modules, and those of torchvision that need no PyTorch, are here; the longest name counts.
_REAL = {"torch": "fireseed", "torchvision": "fireseed._torchvision", "torchvision.datasets": "fireseed.datasets",
         "torchvision.transforms": "fireseed.datasets.transforms",
         "torchvision.transforms.v2": "fireseed.datasets.transforms"}


def real_name(name):
    """The module or attribute of fireseed that a name of torch or torchvision stands for; None for other names."""
    head, rest = name, ""
    while head:
        if head in _REAL:
            return _REAL[head] + rest
        head, _, last = head.rpartition(".")
        rest = f".{last}{rest}"
    return None


def foreign(name):
    """Why the package `name` cannot run on fireseed, or None."""
    if name not in FOREIGN:
        return None
    text = f"{name} is built on PyTorch's C++ library and cannot run on fireseed"
    return f"{text}; {FOREIGN[name]}" if FOREIGN[name] else text


class _Alias:
    """The loader of a module torch.x: gives the module fireseed.x itself, which keeps its own spec."""

    def create_module(self, spec):
        module = import_module(real_name(spec.name))
        self.spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.spec


class _Finder:
    """First on sys.meta_path: finds torch.x and torchvision, and refuses packages that need PyTorch's library."""

    def find_spec(self, name, path=None, target=None):
        real = real_name(name)
        if real is not None:
            try:
                module = import_module(real)
            except ModuleNotFoundError as error:
                if error.name in (real, name):
                    raise ModuleNotFoundError(_missing(name), name=name) from None
                raise
            return ModuleSpec(name, _Alias(), is_package=hasattr(module, "__path__"))
        reason = foreign(name)
        if reason:
            raise ModuleNotFoundError(reason, name=name)
        return None


class _Last:
    """Last on sys.meta_path: `from torch import x` for an x that nobody found."""

    def find_spec(self, name, path=None, target=None):
        if name.startswith("fireseed."):
            torch_name = "torch" + name[len("fireseed"):].replace("._torchvision", "vision", 1)
            raise ModuleNotFoundError(_missing(torch_name), name=torch_name)
        return None


def _missing(name):
    from ._torch_support import missing
    return missing(name)


def as_torch():
    """Makes `import torch`, `import torch.nn as nn` and so on give fireseed, for the rest of the process; returns it.

    dtypes, sizes and Tensor.type() are then printed as PyTorch prints them ("torch.float32"), and __version__ is that
    of the PyTorch release whose API is followed. RuntimeError where PyTorch itself has been imported before.
    """
    import fireseed

    from . import _C, torch_version, version
    there = sys.modules.get("torch")
    if there is fireseed:
        return fireseed
    if there is not None:
        raise RuntimeError("as_torch(): PyTorch itself is already imported in this process; call as_torch() before "
                           "anything imports torch, or run the script with python -m fireseed.run")
    sys.modules["torch"] = fireseed
    sys.meta_path.insert(0, _Finder())
    sys.meta_path.append(_Last())
    _C._show_as_torch(True)
    fireseed.__version__ = version.__version__ = torch_version.__version__
    return fireseed
