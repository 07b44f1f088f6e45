"""What the names in a PyTorch file stand for: tensors' makers, dtypes, plain containers, and classes the user allows."""
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from pickle import UnpicklingError

from .. import _C
from ._native import DTYPES
from ._unpickler import Call

# Names in torch and what they hold: the storages' dtypes.
_STORAGES = {"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
             "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
             "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": None}
_KINDS = (("complex", "a complex tensor"), ("cdouble", "a complex tensor"), ("cfloat", "a complex tensor"),
          ("quint", "a quantised tensor"), ("qint", "a quantised tensor"), ("_qtensor", "a quantised tensor"),
          ("per_tensor", "a quantised tensor"), ("per_channel", "a quantised tensor"), ("sparse", "a sparse tensor"),
          ("nested", "a nested tensor"), ("float8", "a tensor of 8-bit floats"), ("float4", "a tensor of 4-bit floats"),
          ("uint", "a tensor of a dtype that fireseed does not have"))


class StorageType:
    """The class of a storage: the dtype of its elements, None for bytes."""

    def __init__(self, name):
        self.dtype = None if name is None else getattr(_C, name)


class Storage:
    """A storage on its way into tensors: flat(dtype) gives its elements as a 1-dim tensor on the device."""

    def __init__(self, flat, dtype):
        self.flat, self.dtype = flat, dtype


# ---- makers of tensors ----------------------------------------------------------------------------------------------
def _strided(storage, offset, size, stride, dtype=None):
    if not isinstance(storage, Storage):
        raise ValueError("a tensor without a storage")
    flat = storage.flat(dtype or storage.dtype or _C.uint8)
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
        raise ValueError(f"a tensor of size {tuple(size)} and stride {tuple(stride)}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride)) if 0 not in size else offset - 1
    if last >= flat.numel():
        raise ValueError(f"a tensor of size {tuple(size)} in a storage of {flat.numel()} elements")
    with _C.no_grad():
        return flat.as_strided(size, stride, offset)


def _tensor_v1(m, storage, offset, size, stride):
    return _strided(storage, offset, size, stride)


def _tensor_v2(m, storage, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
    t = _strided(storage, offset, size, stride)
    return t.requires_grad_(True) if requires_grad else t


def _tensor_v3(m, storage, offset, size, stride, requires_grad, hooks, dtype, metadata=None):
    t = _strided(storage, offset, size, stride, dtype)
    return t.requires_grad_(True) if requires_grad else t


def _attributes(value, state):
    if isinstance(state, tuple) and len(state) == 2:
        state = state[0]
    if state is not None:
        if not isinstance(state, dict) or not all(type(k) is str for k in state):
            raise ValueError("attributes that are no dict")
        value.__dict__.update(state)
    return value


def _parameter(m, data, requires_grad=True, hooks=None, state=None):
    from ..nn.parameter import Parameter
    return _attributes(Parameter(data, bool(requires_grad)), state)


def _typed(m, function, kind, args, state):
    return _attributes(m.call(function, args), state)


# ---- plain values ---------------------------------------------------------------------------------------------------
def _copying(kind):
    """A container made of what another one holds."""
    def make(m, items=()):
        m.charge(len(items))
        if isinstance(items, dict):
            made = kind(items)
        elif kind in (set, frozenset):
            made = set()
            m.extend(made, items)
            made = kind(made)
        elif issubclass(kind, dict):
            made = kind()
            for key, value in items:
                m.put(made, key, value)
        else:
            made = kind(items)
        return made
    return make


def _defaultdict(m, factory=None, items=()):
    if factory not in (None, int, float, str, bool, list, dict, set, tuple):
        raise ValueError("a defaultdict of what is no plain type")
    made = defaultdict(factory)
    made.update(_copying(dict)(m, items))
    return made


def _deque(m, items=(), limit=None):
    m.charge(len(items))
    return deque(items, limit)


def _encode(m, text, encoding="latin1"):
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise ValueError(f"bytes in the encoding {encoding!r}")
    m.charge(len(text))
    return text.encode(encoding)


def _bytearray(m, data=b"", encoding="latin1"):
    return bytearray(_encode(m, data, encoding) if isinstance(data, str) else _bytes(m, data))


def _bytes(m, data=b""):
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError("bytes of what has none")
    m.charge(len(data))
    return bytes(data)


def _size(m, sizes=()):
    m.charge(len(sizes))
    return _C.Size(sizes)


def _device(m, kind="cpu", index=None):
    return _C.device(kind if index is None else f"{kind}:{index}")


def _path(m, *parts):
    import pathlib
    return pathlib.Path(*parts)


def _namespace(m):
    from argparse import Namespace
    return Namespace()


def _number(kind):
    def make(m, value=0):
        if type(value) not in (int, float, bool):
            raise ValueError(f"a {kind.__name__} of what is no number")
        return kind(value)
    return make


# ---- numpy ----------------------------------------------------------------------------------------------------------
class _NumpyDtype:
    """A numpy dtype on its way: a code such as "f8", and a byte order that follows."""

    def __init__(self, code):
        self.code, self.order = code, "="

    def make(self):
        import numpy
        if not (isinstance(self.code, str) and self.code[:1] in set("biufcSU") and self.code[1:].isdigit()
                and len(self.code) < 9 and self.order in ("<", ">", "=", "|")):
            raise ValueError(f"a numpy dtype {self.code!r}")
        return numpy.dtype(self.order + self.code)


def _latin(data):
    return data.encode("latin1") if isinstance(data, str) else data


def _numpy_dtype(m, code, align=False, copy=False):
    return _NumpyDtype(code)


def _numpy_scalar(m, dtype, data):
    import numpy
    data = _latin(data)
    m.charge(len(data))
    return numpy.frombuffer(data, dtype=dtype.make(), count=1)[0]


def _numpy_reconstruct(m, kind=None, shape=(0,), code=b"b"):
    import numpy
    return numpy.empty(0)


def _numpy_state(m, array, state):
    version, shape, dtype, fortran, data = state
    dtype, data, size = dtype.make(), _latin(data), 1
    for n in shape:
        if type(n) is not int or n < 0:
            raise ValueError("a numpy array of negative size")
        size *= n
    m.charge(len(data))
    if size * dtype.itemsize != len(data):
        raise ValueError(f"a numpy array of shape {shape} in {len(data)} bytes")
    array.__setstate__((1, tuple(shape), dtype, bool(fortran), bytes(data)))


# ---- the table ------------------------------------------------------------------------------------------------------
def _table():
    table = {
        "collections.OrderedDict": (_copying(OrderedDict), OrderedDict),
        "collections.Counter": (_copying(Counter), Counter),
        "collections.defaultdict": (_defaultdict, defaultdict), "collections.deque": (_deque, deque),
        "builtins.set": (_copying(set), set), "builtins.frozenset": (_copying(frozenset), frozenset),
        "builtins.list": (_copying(list), list), "builtins.tuple": (_copying(tuple), tuple),
        "builtins.dict": (_copying(dict), dict), "builtins.bytearray": (_bytearray, bytearray),
        "builtins.bytes": (_bytes, bytes), "builtins.int": (_number(int), int), "builtins.float": (_number(float), float),
        "builtins.bool": (_number(bool), bool), "builtins.str": (None, str),
        "builtins.complex": (lambda m, a=0.0, b=0.0: complex(a, b), complex),
        "builtins.slice": (lambda m, *args: slice(*args), slice),
        "_codecs.encode": (_encode, None), "argparse.Namespace": (_namespace, None),
        "torch.Size": (_size, _C.Size), "torch.device": (_device, _C.device),
        "torch.Tensor": (None, _C.Tensor), "torch._tensor._rebuild_from_type_v2": (_typed, None),
        "torch._utils._rebuild_tensor": (_tensor_v1, None), "torch._utils._rebuild_tensor_v2": (_tensor_v2, None),
        "torch._utils._rebuild_tensor_v3": (_tensor_v3, None), "torch._utils._rebuild_parameter": (_parameter, None),
        "torch._utils._rebuild_parameter_with_state": (_parameter, None),
        "torch.nn.parameter.Parameter": (_parameter, None),
        "torch.serialization._get_layout": (_layout, None),
        "numpy.dtype": (_numpy_dtype, None), "numpy.ndarray": (None, None),
    }
    for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"):
        table[f"pathlib.{name}"] = table[f"pathlib._local.{name}"] = (_path, None)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{module}.scalar"] = (_numpy_scalar, None)
        table[f"{module}._reconstruct"] = (_numpy_reconstruct, None)
    table["numpy.core.numeric._frombuffer"] = table["numpy._core.numeric._frombuffer"] = (_numpy_frombuffer, None)
    found = {name: Call(name, *entry) for name, entry in table.items()}
    for name, dtype in _STORAGES.items():
        for module in ("torch", "torch.cuda", "torch.storage"):
            found[f"{module}.{name}"] = StorageType(dtype)
    for dtype in DTYPES.values():
        found[f"torch.{dtype}"] = getattr(_C, dtype)
    return found


def _layout(m, name="torch.strided"):
    from .._python_api import strided
    if name != "torch.strided":
        raise NotImplementedError(f"{m.path()} is a sparse tensor, which fireseed does not have")
    return strided


def _numpy_frombuffer(m, data, dtype, shape, order="C"):
    import numpy
    m.charge(len(data))
    return numpy.frombuffer(bytes(data), dtype=dtype.make()).reshape(shape, order=order).copy()


_PYTHON2 = {"__builtin__": "builtins", "UserDict": "collections", "copy_reg": "copyreg"}
_known = {}
_safe = {}  # full name -> class or function that the user allows


def add_safe_globals(safe_globals):
    """Lets `load` make objects of these classes (or call these functions): a list of them, or of (class, full name).

    Only for classes whose making does no harm, whatever the file says; all others stay errors.
    """
    for item in safe_globals:
        value, name = item if isinstance(item, tuple) else (item, f"{item.__module__}.{item.__qualname__}")
        _safe[name] = value
        if name.startswith("fireseed."):  # files have PyTorch's names
            _safe["torch" + name[len("fireseed"):]] = value


def get_safe_globals():
    """The list of what :func:`add_safe_globals` allows."""
    return list(dict.fromkeys(_safe.values()))


def clear_safe_globals():
    """Takes back all that :func:`add_safe_globals` allows."""
    _safe.clear()


class safe_globals:
    """A context manager: :func:`add_safe_globals` for its block."""

    def __init__(self, safe_globals):
        self.items = safe_globals

    def __enter__(self):
        self.before = dict(_safe)
        add_safe_globals(self.items)

    def __exit__(self, *exc):
        _safe.clear()
        _safe.update(self.before)


class Finder:
    """find(machine, module, name) for a Machine. modules: whether whole modules may be made (weights_only=False)."""

    def __init__(self, modules):
        self.modules = modules

    def __call__(self, m, module, name):
        module = _PYTHON2.get(module, module)
        full = f"{module}.{name}"
        if full in _safe:
            return _allowed(full, _safe[full])
        if not _known:
            _known.update(_table())
        if full in _known:
            return _known[full]
        if module.split(".")[0] == "torch":
            low = name.lower()
            for part, kind in _KINDS:
                if part in low:
                    raise NotImplementedError(f"{m.path()} is {kind} ({full}), which fireseed does not have; convert "
                                              "it to a dense real tensor before saving")
        found = _nn_name(module, name)
        if found is not None:
            if not self.modules and not any(getattr(found, "value", found) is v for v in _safe.values()):
                raise UnpicklingError(f"{m.path()} is a whole module or a part of one ({full}). Load the file with "
                                      "weights_only=False (no code of the file is run), or save the state_dict() only")
            return found
        raise UnpicklingError(
            f"{m.path()} is a {full}, which is not data that fireseed reads. Save the state_dict() and plain values "
            f"instead. For a module: import its class first and load with weights_only=False. Another class that does "
            f"no harm can be allowed with fireseed.serialization.add_safe_globals([{name}])")


def _allowed(full, value):
    def make(m, *args):
        return value(*args)

    def new(m, *args):
        return value.__new__(value, *args)

    return Call(full, make, value, new if isinstance(value, type) else None)


def module_class(value):
    """The Call that makes a Module of a class, without its __init__; None for what is no such class."""
    from .. import nn
    if not (isinstance(value, type) and issubclass(value, nn.Module)):
        return None
    return Call(f"{value.__module__}.{value.__qualname__}", lambda m: nn.Module.__new__(value), value)


def _nn_name(module, name):
    """A Module class that is imported already, or a function of fireseed's that one refers to; else None."""
    from importlib import import_module
    top, _, rest = module.partition(".")
    ours = top in ("torch", "fireseed")
    if ours:
        import_module("..nn.functional", __package__)
        module = "fireseed" + ("." + rest if rest else "")
    value = vars(sys.modules[module]).get(name.split(".")[0]) if module in sys.modules else None
    for part in name.split(".")[1:]:
        value = vars(value).get(part) if isinstance(value, type) else None
    from .. import nn
    if ours and value is None and rest.startswith("nn") and "." not in name:
        value = vars(nn).get(name)
    made = module_class(value)
    if made is not None:
        return made
    if not ours or "." in name or name.startswith("_"):
        return None
    function = vars(nn.functional).get(name) or getattr(_C, name, None)
    return function if name in _FUNCTIONS and callable(function) else None


# Functions that modules keep as attributes: `self.activation = F.relu`. They are only referred to, never called.
_FUNCTIONS = frozenset((
    "relu", "relu6", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus", "softsign",
    "hardtanh", "hardsigmoid", "hardswish", "leaky_relu", "logsigmoid", "softmax", "log_softmax", "tanhshrink",
    "softshrink", "hardshrink", "sin", "cos", "exp", "abs", "square", "mse_loss", "l1_loss", "cross_entropy",
    "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "smooth_l1_loss", "huber_loss"))



def function_name(value):
    """(module, name) of one of these functions; None for any other object."""
    name = getattr(value, "__name__", None)
    from ..nn import functional
    if name not in _FUNCTIONS:
        return None
    if value is vars(functional).get(name):
        return "torch.nn.functional", name
    return ("torch", name) if value is getattr(_C, name, None) else None


_TORCH_ONLY = frozenset(("_flat_weight_refs", "_flat_weights", "_flat_weights_names", "_is_full_backward_hook"))


def build(m, value, state):
    """Gives an object of the table its state, as the BUILD instruction of pickle says."""
    from .. import nn
    if isinstance(value, _NumpyDtype):
        value.order = state[1]
    elif type(value).__module__ == "numpy":
        _numpy_state(m, value, state)
    elif isinstance(value, nn.Module):
        if not isinstance(state, dict) or not all(type(k) is str for k in state):
            raise ValueError("a module whose state is no dict")
        value.__setstate__({key: item for key, item in state.items() if key not in _TORCH_ONLY
                            and not (key.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")) and not item)})
    elif any(type(value) is kind for kind in _safe.values()):
        if hasattr(type(value), "__setstate__"):
            value.__setstate__(state)
        else:
            for part in state if isinstance(state, tuple) else (state,):
                for key, item in (part or {}).items():
                    setattr(value, key, item)
    elif isinstance(value, (dict, _C.Tensor)) or type(value).__name__ == "Namespace":
        if type(value) is dict:
            raise ValueError("attributes of a dict")
        _attributes(value, state)
    else:
        raise ValueError(f"a state for a {type(value).__name__}")
