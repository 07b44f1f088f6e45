"""The native format: a safetensors file whose metadata describe the object as JSON, with checksums."""
import json
import re
from collections import OrderedDict
from collections.abc import Mapping
from zlib import crc32

from .. import _C
from ._files import DamagedFileError, bytes_of, typed

# Note [Native files]
# ~~~~~~~~~~~~~~~~~~~
# Every tensor is an entry of the safetensors file, so that any reader of that format finds the tensors under their
# names ("model.0.weight"). The metadata entry "fireseed" holds {"version", "tree", "crc32"}: the object as JSON, in
# which {"t": name} stands for a tensor, and a checksum for each tensor. "fireseed.crc32" is the checksum of the rest
# of the header. Every bit of such a file is thus checked when it is loaded. Files of version 1 have no checksums.
#
# Tensors that are the same memory in the same shape (tied weights) are stored once. Other views are stored on their
# own, in row-major order: format="torch" keeps storages and strides.

KEY, SUM = "fireseed", "fireseed.crc32"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
          "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool"}
_CODES = {name: code for code, name in DTYPES.items()}
_MAX_HEADER = 100_000_000  # bytes, the limit of the safetensors package too
_NUMPY_DTYPE = re.compile(r"[<>|=]?[biufcSU][0-9]{1,4}")


def name_of(dtype):
    """A dtype's name: "float32"."""
    return str(dtype).rpartition(".")[2]


def cannot_save(value, path):
    """The TypeError for a value that no format keeps."""
    hint = ""
    if hasattr(value, "state_dict"):
        from ..nn import Module
        hint = '; save its state_dict() instead' + (', or use format="torch"' if isinstance(value, Module) else "")
    return TypeError(f"save: cannot save a {type(value).__name__} (at {path or 'the top'}){hint}. Supported are "
                     "tensors, numbers, strings, bytes, None and dicts, lists, tuples and sets of these")


class _Describer:
    """Takes an object apart: `tensors` by name, and `describe` gives its structure as JSON values."""

    def __init__(self):
        self.tensors, self.names, self.ids, self.keep = {}, {}, {}, []

    def _add(self, tensor, name):
        """(entry name, number of this tensor object among those with this memory)."""
        key = (tensor._storage_id(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        known = self.names.get(key)
        if known is None:
            known = name if name and name not in self.tensors and name != "__metadata__" else \
                f"{name or 'tensor'}#{len(self.tensors)}"
            self.names[key], self.tensors[known], self.ids[known] = known, tensor, {}
        ids = self.ids[known]
        return known, ids.setdefault(id(tensor), len(ids))

    def _tensor(self, value, path):
        from ..nn.parameter import Parameter
        name, alias = self._add(value, path)
        out = {"p" if isinstance(value, Parameter) else "t": name, "g": bool(value.requires_grad)}
        if alias:
            out["a"] = alias
        if value.device.type != "cpu":
            out["c"] = str(value.device)
        return out

    def describe(self, value, path):
        """JSON values for an object at a path."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, _C.Tensor):
            return self._tensor(value, path)
        if isinstance(value, Mapping):
            items = []
            for key, item in value.items():
                below = f"{path}.{key}" if path else str(key)
                items.append([self.describe(key, f"the key {below}"), self.describe(item, below)])
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
            return {"e": [self.describe(item, path) for item in value]}
        if isinstance(value, _C.dtype):
            return {"y": name_of(value)}
        if isinstance(value, _C.device):
            return {"v": str(value)}
        if isinstance(value, (bytes, bytearray)):
            return {"b": value.hex()}
        if isinstance(value, complex):
            return {"z": [value.real, value.imag]}
        if type(value).__module__ == "numpy" and hasattr(value, "dtype"):
            return self._numpy(value, path)
        if type(value).__name__ == "Namespace" and type(value).__module__ == "argparse":
            return {"ns": self.describe(vars(value), path)}
        raise cannot_save(value, path)

    def _numpy(self, value, path):
        if getattr(value, "ndim", 0) == 0:
            return self.describe(value.item(), path)
        import numpy
        name = value.dtype.name
        if name in _CODES:
            array = _C.from_numpy(value.copy())
            self.keep.append(array)
            return {"n": self._add(array, path)[0]}
        if not _NUMPY_DTYPE.fullmatch(value.dtype.str):
            raise TypeError(f"save: the numpy array at {path or 'the top'} has dtype {value.dtype}, which cannot be "
                            "saved; convert it to numbers or to a list")
        raw = _C.frombuffer(bytearray(numpy.ascontiguousarray(value).tobytes()), dtype=_C.uint8)
        self.keep.append(raw)
        return {"r": self._add(raw, path)[0], "y": value.dtype.str, "s": list(value.shape)}


class NativeFile:
    """An object made ready for writing: `size` in bytes, `write(out)`."""

    def __init__(self, obj, metadata=None):
        describer = _Describer()
        try:
            tree = describer.describe(obj, "")
        except RecursionError:
            raise ValueError("save: the object is nested too deeply, or contains itself") from None
        dense = {name: t.detach().cpu().contiguous() for name, t in describer.tensors.items()}
        # Large items first, so that every tensor is aligned to its items.
        self.tensors = dict(sorted(dense.items(), key=lambda item: -item[1].element_size()))
        sums = {name: crc32(bytes_of(t)) for name, t in self.tensors.items()}
        notes = {str(k): str(v) for k, v in (metadata or {}).items()}
        notes[KEY] = json.dumps({"version": 2, "tree": tree, "crc32": sums}, separators=(",", ":"))
        header, end = {"__metadata__": notes}, 0
        for name, t in self.tensors.items():
            start, end = end, end + t.numel() * t.element_size()
            header[name] = {"dtype": _CODES[name_of(t.dtype)], "shape": list(t.shape), "data_offsets": [start, end]}
        notes[SUM] = _header_sum(header)
        text = json.dumps(header, separators=(",", ":")).encode()
        if len(text) > _MAX_HEADER:
            raise ValueError(f"save: the object's description takes {len(text)} bytes, at most {_MAX_HEADER} are "
                             "allowed; keep long lists of numbers in tensors")
        text += b" " * (-(8 + len(text)) % 64)
        self.head = len(text).to_bytes(8, "little") + text
        self.size = len(self.head) + end

    def write(self, out):
        """Writes the file to a binary file."""
        out.write(self.head)
        for t in self.tensors.values():
            if t.numel():
                out.write(bytes_of(t))


def _header_sum(header):
    """The checksum of a header's content, whatever its spacing and order, as 8 hex digits."""
    notes = {k: v for k, v in header.get("__metadata__", {}).items() if k != SUM}
    return f"{crc32(json.dumps({**header, '__metadata__': notes}, sort_keys=True).encode()):08x}"


def _natural(value):
    return type(value) is int and value >= 0


def read_header(source):
    """(header, where the data begin) of a safetensors file, its entries checked one by one."""
    if source.size < 8:
        source.fail("not a safetensors file or damaged: cut short (at less than 8 bytes)")
    length = int.from_bytes(source.read(0, 8), "little")
    if length > min(source.size - 8, _MAX_HEADER):
        source.fail("not a safetensors file or damaged: it is cut short, or its first 8 bytes are no length")
    try:
        header = json.loads(source.read(8, length))
        notes = header.setdefault("__metadata__", {})
        if not all(isinstance(v, str) for v in notes.values()):
            raise ValueError("metadata that are no strings")
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        source.fail(f"not a safetensors file or damaged ({error})")
    if SUM in notes and notes[SUM] != _header_sum(header):
        source.fail("damaged: the header's checksum does not hold")
    return header, 8 + length


def _entries(source, header, begin):
    """[(name, dtype code, shape, start, end)] in the order of the file; ValueError where they do not tile the data."""
    entries = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        code, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(code, str) or not isinstance(shape, list) or not all(map(_natural, (*shape, start, end))):
            raise ValueError(f"the entry of {name!r}")
        entries.append((name, code, shape, start, end))
    entries.sort(key=lambda e: e[3:])
    at = 0
    for name, code, shape, start, end in entries:
        if start != at or end < start:
            raise ValueError(f"the place of {name!r}")
        at = end
        if code in DTYPES:
            size = getattr(_C, DTYPES[code]).itemsize
            for n in shape:
                size *= n
            if size != end - start:
                raise ValueError(f"the size of {name!r}")
    if begin + at > source.size:
        source.fail(f"damaged: cut short ({source.size} bytes, {begin + at} expected)")
    if source.own and begin + at != source.size:
        source.fail(f"damaged: {source.size - begin - at} bytes after the last tensor")
    return entries, begin + at


def load_native(source, placer, mapped):
    """The object of a safetensors file. placer: a Placer; mapped: tensors as pages of the file, not checked."""
    header, begin = read_header(source)
    try:
        entries, end = _entries(source, header, begin)
        plan = json.loads(header["__metadata__"].get(KEY, "null"))
        sums = {} if plan is None else plan.get("crc32", {})
        if plan is not None and plan["version"] > 2:
            raise NotImplementedError(f"load: {source.name} was written by a newer fireseed (format "
                                      f"{plan['version']}); update fireseed")
        if plan is not None and plan["version"] == 2 and SUM not in header["__metadata__"]:
            raise ValueError("its checksum is missing")
        missing = set(header) - set(sums) - {"__metadata__"} if sums else ()
        if missing:
            raise ValueError(f"no checksum for {sorted(missing)[0]!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        source.fail(f"not a safetensors file or damaged (header: {error})")
    tensors = {}
    for name, code, shape, start, stop in entries:
        if code not in DTYPES:
            raise NotImplementedError(f"load: {source.name}: {name} has dtype {code}, which fireseed does not have")
        raw = source.tensor(begin + start, stop - start, mapped)
        if name in sums and not mapped and crc32(memoryview(raw)) != sums[name]:
            source.fail(f"damaged: the checksum of {name} does not hold")
        try:
            tensors[name] = typed(raw, getattr(_C, DTYPES[code]), shape)
        except (RuntimeError, OverflowError, TypeError) as error:
            source.fail(f"damaged: the shape of {name} ({error})")
    source.seek(end)
    if plan is None:
        return {name: placer.place(tensors[name], "cpu") for name in header if name != "__metadata__"}
    try:
        return _Builder(tensors, placer).build(plan["tree"])
    except (NotImplementedError, DamagedFileError):
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        source.fail(f"damaged: the description of the object ({type(error).__name__}: {error})")


class _Builder:
    """Puts an object together again from its structure and its tensors."""

    def __init__(self, tensors, placer):
        self.tensors, self.placer, self.made = tensors, placer, {}

    def build(self, value):
        """The object that JSON values describe."""
        if not isinstance(value, dict):
            if isinstance(value, list):
                raise ValueError("a bare list")
            return value
        for kind in ("t", "p"):
            if kind in value:
                return self._tensor(value, value[kind], kind == "p")
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
        if "n" in value:
            return self.tensors[value["n"]].numpy()
        if "r" in value:
            return self._raw_array(value)
        if "s" in value:
            return _C.Size(value["s"])
        if "y" in value:
            if value["y"] not in _CODES:
                raise ValueError(f"unknown dtype {value['y']}")
            return getattr(_C, value["y"])
        if "v" in value:
            return _C.device(value["v"])
        if "b" in value:
            return bytes.fromhex(value["b"])
        if "z" in value:
            return complex(*value["z"])
        if "ns" in value:
            from argparse import Namespace
            return Namespace(**self.build(value["ns"]))
        raise NotImplementedError(f"load: unknown kind of value {sorted(value)}; was the file written by a newer "
                                  "fireseed?")

    def _raw_array(self, value):
        import numpy
        if not _NUMPY_DTYPE.fullmatch(value["y"]):
            raise ValueError(f"unknown numpy dtype {value['y']}")
        raw = self.tensors[value["r"]].numpy()
        return numpy.frombuffer(raw.tobytes(), dtype=value["y"]).reshape(value["s"]).copy()

    def _tensor(self, value, name, parameter):
        """The tensor of an entry: one object for each that was saved, on one memory where it was one."""
        alias = value.get("a", 0)
        if (name, alias) in self.made:
            return self.made[name, alias]
        known = self.made.get((name, 0))
        t = self.placer.place(self.tensors[name], value.get("c", "cpu")) if known is None else known.detach()
        if parameter:
            from ..nn.parameter import Parameter
            t = Parameter(t, bool(value.get("g")))
        elif value.get("g"):
            t.requires_grad_(True)
        self.made[name, alias] = t
        return t
