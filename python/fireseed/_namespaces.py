"""Namespaces of the package: filling them from the engine's tables, and the error for what they lack."""


class MissingError(AttributeError, NotImplementedError):
    """A PyTorch name that fireseed lacks: hasattr() is False for it, and `except NotImplementedError` sees it too."""

    __module__ = "fireseed"


def fill(namespace, table):
    """Copies the public functions of an engine table into a module's globals."""
    for name, value in vars(table).items():
        if not name.startswith("__"):
            namespace[name] = value


def shown_name():
    """The package's name in texts: "fireseed", or "torch" after as_torch()."""
    from . import _C
    return str(_C.float32).partition(".")[0]


def missing_attribute(module, name, obj=None):
    """The exception for a missing attribute of the module named `module` ("fireseed.nn"): names torch's name.

    obj, the module itself, lets the interpreter suggest similar names.
    """
    if name.startswith("__"):
        return AttributeError(f"module '{module}' has no attribute '{name}'")
    from ._torch_support import missing
    error = MissingError(missing("torch" + module[len("fireseed"):] + "." + name))
    if obj is not None:
        error.name, error.obj = name, obj
    return error


class MissingMethod:
    """A method of Tensor that fireseed lacks: naming it raises MissingError with the reason."""

    def __init__(self, name):
        self.name = name

    def __get__(self, tensor, kind=None):
        from ._torch_support import missing
        raise MissingError(missing("Tensor." + self.name))
