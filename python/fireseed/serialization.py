"""save and load: safetensors files, written atomically; never runs code when reading.

A dict of tensors becomes a plain safetensors file with its keys. Anything else made of dicts, lists, tuples, numbers,
strings and tensors is stored as tensors plus a description of the structure (JSON, in the file's metadata).
"""
import json
import os
from collections import OrderedDict
from collections.abc import Mapping

from . import _C

_KEY = "fireseed"  # the metadata entry with the structure
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
           "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}


def _safetensors():
    try:
        import safetensors
    except ImportError as error:
        raise ImportError("fireseed.save and fireseed.load need the safetensors package: "
                          "pip install safetensors") from error
    return safetensors


def _name_of(dtype):
    return str(dtype).rpartition(".")[2]


class _Writer:
    """Takes an object apart: `tensors` by name, and `describe` gives its structure as JSON values."""

    def __init__(self):
        self.tensors, self.names = {}, {}

    def _add(self, tensor, name):
        known = self.names.get(id(tensor))
        if known is None:
            known = name if name and name not in self.tensors else f"{name or 'tensor'}#{len(self.tensors)}"
            self.names[id(tensor)] = known
            self.tensors[known] = tensor
        return known

    def describe(self, value, path):
        from .nn.parameter import Parameter

        if value is None or isinstance(value, (bool, int, float, str)) and type(value) in (bool, int, float, str):
            return value
        if isinstance(value, _C.Tensor):
            kind = "p" if isinstance(value, Parameter) else "t"
            return {kind: self._add(value, path), "g": bool(value.requires_grad)}
        if isinstance(value, Mapping):
            items = []
            for key, item in value.items():
                below = f"{path}.{key}" if path else str(key)
                items.append([self.describe(key, ""), self.describe(item, below)])
            out = {"d": items, "o": isinstance(value, OrderedDict)}
            versions = getattr(value, "_metadata", None)
            if versions is not None:
                out["m"] = {name: dict(entry) for name, entry in versions.items()}
            return out
        if isinstance(value, _C.Size):
            return {"s": list(value)}
        if isinstance(value, (list, tuple)):
            return {"l" if isinstance(value, list) else "u":
                    [self.describe(item, f"{path}.{i}" if path else str(i)) for i, item in enumerate(value)]}
        if isinstance(value, (set, frozenset)):
            return {"e": [self.describe(item, "") for item in value]}
        if isinstance(value, _C.dtype):
            return {"y": _name_of(value)}
        if isinstance(value, _C.device):
            return {"v": str(value)}
        if isinstance(value, bytes):
            return {"b": value.hex()}
        if type(value).__module__ == "numpy" and hasattr(value, "dtype"):
            if value.dtype.kind not in "biuf":
                raise TypeError(f"save: the numpy value at {path or 'the top'} has dtype {value.dtype}, which "
                                "cannot be saved")
            if getattr(value, "ndim", 0) == 0:
                return self.describe(value.item(), path)
            array = _C.from_numpy(value.copy())
            self.keep = getattr(self, "keep", []) + [array]  # ids stay unique while the writer lives
            return {"n": self._add(array, path)}
        hint = "; save its state_dict() instead" if hasattr(value, "state_dict") else ""
        raise TypeError(f"save: cannot save a {type(value).__name__} (at {path or 'the top'}){hint}. Supported "
                        "are tensors, "
                        "numbers, strings, bytes, None and dicts, lists, tuples and sets of these")


def _serialize(tensors, header):
    """The bytes of a safetensors file with tensors (a dict) and header (a dict of strings)."""
    package = _safetensors()
    # `dense` keeps the memory alive until the package has read it.
    dense = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    entries = {}
    for name, t in dense.items():
        size = t.numel() * t.element_size()
        if hasattr(package, "TensorSpec"):  # safetensors >= 0.8 reads the memory
            entries[name] = package.TensorSpec(dtype=_name_of(t.dtype), shape=list(t.shape), data_ptr=t.data_ptr(),
                                               data_len=size)
        else:
            bits = t.view(_C.int16) if t.dtype == _C.bfloat16 else t  # numpy has no bfloat16
            entries[name] = {"dtype": _name_of(t.dtype), "shape": list(t.shape), "data": bits.numpy().tobytes()}
    return bytes(package.serialize(entries, metadata=header))


def _tensor_of(entry):
    import numpy

    name = _DTYPES.get(entry["dtype"])
    if name is None:
        raise RuntimeError(f"load: dtype {entry['dtype']} is not supported")
    stored = "int16" if name == "bfloat16" else name
    t = _C.from_numpy(numpy.frombuffer(bytearray(entry["data"]), dtype=stored).reshape(entry["shape"]))
    return t.view(_C.bfloat16) if name == "bfloat16" else t


class _Reader:
    """Puts an object together again from its structure and its tensors."""

    def __init__(self, tensors):
        self.tensors, self.made = tensors, {}

    def build(self, value):
        if isinstance(value, list):
            raise RuntimeError("load: the description of the structure is damaged")
        if not isinstance(value, dict):
            return value
        for kind in ("t", "p"):
            if kind in value:
                return self._tensor(value[kind], kind == "p", value.get("g", False))
        if "d" in value:
            made = OrderedDict() if value.get("o") else {}
            for key, item in value["d"]:
                made[self.build(key)] = self.build(item)
            if "m" in value:
                made._metadata = OrderedDict(value["m"])
            return made
        if "l" in value:
            return [self.build(item) for item in value["l"]]
        if "u" in value:
            return tuple(self.build(item) for item in value["u"])
        if "e" in value:
            return {self.build(item) for item in value["e"]}
        if "s" in value:
            return _C.Size(value["s"])
        if "y" in value:
            return getattr(_C, value["y"]) if value["y"] in _DTYPES.values() else _bad_dtype(value["y"])
        if "v" in value:
            return _C.device(value["v"])
        if "b" in value:
            return bytes.fromhex(value["b"])
        if "n" in value:
            return self.tensors[value["n"]].numpy()
        raise RuntimeError(f"load: unknown kind of value {sorted(value)}; was the file written by a newer fireseed?")

    def _tensor(self, name, parameter, requires_grad):
        if name not in self.made:
            t = self.tensors[name]
            if parameter:
                from .nn.parameter import Parameter
                t = Parameter(t, requires_grad)
            elif requires_grad:
                t.requires_grad_(True)
            self.made[name] = t
        return self.made[name]


def _bad_dtype(name):
    raise RuntimeError(f"load: unknown dtype {name}")


def save(obj, f, metadata=None, **ignored):
    """Saves an object made of tensors, numbers, strings, dicts, lists and tuples to a path or a binary file.

    A path is written to a temporary file next to it, which then takes its name: a crash leaves the old file whole.
    metadata: dict of strings for the file's header. TypeError names a part that cannot be saved (save a module's
    state_dict(), not the module). PyTorch's pickle options are accepted and ignored.
    """
    unknown = set(ignored) - {"pickle_module", "pickle_protocol", "_use_new_zipfile_serialization",
                              "_disable_byteorder_record"}
    if unknown:
        raise TypeError(f"save() got an unexpected keyword argument '{sorted(unknown)[0]}'")
    writer = _Writer()
    header = {str(k): str(v) for k, v in (metadata or {}).items()}
    header[_KEY] = json.dumps({"version": 1, "tree": writer.describe(obj, "")})
    data = _serialize(writer.tensors, header)
    if hasattr(f, "write"):
        f.write(data)
        return
    path = os.fspath(f)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def _read(f, what):
    if hasattr(f, "read"):
        data, name = f.read(), getattr(f, "name", "the file object")
    else:
        name = os.fspath(f)
        with open(name, "rb") as file:
            data = file.read()
    if data[:2] == b"PK" or data[:1] == b"\x80":
        raise RuntimeError(f"{what}: {name} is a PyTorch checkpoint (pickle), which would have to run code to "
                           "be read. Save it "
                           "from PyTorch with safetensors.torch.save_file(state_dict, path) and load that.")
    return bytes(data), name


def _header(data, name, what):
    try:
        length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or length > len(data) - 8:
            raise ValueError("the file is cut short")
        return json.loads(data[8:8 + length]).get("__metadata__") or {}
    except (ValueError, UnicodeDecodeError, AttributeError) as error:
        raise RuntimeError(f"{what}: {name} is not a safetensors file or is damaged ({error})") from None


def load(f, map_location=None, **ignored):
    """Loads what save wrote, or any safetensors file (as a dict of tensors), from a path or a binary file.

    map_location: the device the tensors go to. weights_only, mmap and the other options of PyTorch are accepted and
    ignored: nothing in a file is ever executed. RuntimeError for files that are damaged or of another format.
    """
    unknown = set(ignored) - {"pickle_module", "weights_only", "mmap", "encoding"}
    if unknown:
        raise TypeError(f"load() got an unexpected keyword argument '{sorted(unknown)[0]}'")
    data, name = _read(f, "load")
    header = _header(data, name, "load")
    try:
        entries = _safetensors().deserialize(data)
    except ImportError:
        raise
    except Exception as error:
        raise RuntimeError(f"load: {name} is not a safetensors file or is damaged ({error})") from None
    tensors = {key: _tensor_of(entry) for key, entry in entries}
    if map_location is not None and not callable(map_location):
        device = map_location.get("cpu", "cpu") if isinstance(map_location, dict) else map_location
        tensors = {key: t.to(device) for key, t in tensors.items()}
    if _KEY not in header:
        return tensors
    return _Reader(tensors).build(json.loads(header[_KEY])["tree"])


def load_metadata(f):
    """The header's metadata of a safetensors file, a dict of strings, without fireseed's own entry."""
    data, name = _read(f, "load_metadata")
    header = _header(data, name, "load_metadata")
    return {k: v for k, v in header.items() if k != _KEY}
