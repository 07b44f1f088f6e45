"""Writes PyTorch's zip format: what torch.load(weights_only=True) reads, without PyTorch."""
import struct
from collections import Counter, OrderedDict
from collections.abc import Mapping
from hashlib import sha256

from .. import _C
from ._files import bytes_of
from ._native import cannot_save, name_of

_STORAGES = {"float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage",
             "bfloat16": "BFloat16Storage", "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage",
             "int8": "CharStorage", "uint8": "ByteStorage", "bool": "BoolStorage"}
_ALIGNMENT = 64
_ZIP64_SIZE = 1 << 30  # records above this get zipfile's long header, which it chooses itself a little later


class _Pickler:
    """Writes the pickle (protocol 2) of an object; `storages` are the 1-dim tensors it refers to, by number."""

    def __init__(self):
        self.out, self.memo, self.storages, self.keep = bytearray(), {}, {}, []

    # ---- instructions -------------------------------------------------------------------------------------------
    def _remember(self, key):
        """Gives what was just made a place in the memo."""
        n = len(self.memo)
        self.memo[key] = n
        self.out += b"q" + bytes((n,)) if n < 256 else b"r" + struct.pack("<I", n)

    def _recall(self, key):
        """Whether key is in the memo; if so it is taken from there."""
        n = self.memo.get(key)
        if n is None:
            return False
        self.out += b"h" + bytes((n,)) if n < 256 else b"j" + struct.pack("<I", n)
        return True

    def name(self, module, name):
        """A global name."""
        if not self._recall(("name", module, name)):
            self.out += f"c{module}\n{name}\n".encode()
            self._remember(("name", module, name))

    def text(self, value):
        """A str."""
        if not self._recall(("text", value)):
            data = value.encode("utf-8", "surrogatepass")
            self.out += b"X" + struct.pack("<I", len(data)) + data
            self._remember(("text", value))

    def integer(self, value):
        """An int of any size."""
        if 0 <= value < 256:
            self.out += b"K" + bytes((value,))
        elif -(1 << 31) <= value < 1 << 31:
            self.out += b"J" + struct.pack("<i", value)
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            if len(data) > 255:
                raise TypeError(f"save: an integer of {len(data)} bytes is too large for PyTorch's format")
            self.out += b"\x8a" + bytes((len(data),)) + data

    def sequence(self, values, path):
        """A tuple."""
        self.out += b"("
        for value in values:
            self.value(value, path)
        self.out += b"t"

    def _items(self, mapping, path):
        if mapping:
            self.out += b"("
            for key, item in mapping.items():
                self.value(key, f"the key {key!r}")
                self.value(item, f"{path}.{key}" if path else str(key))
            self.out += b"u"

    # ---- values -------------------------------------------------------------------------------------------------
    def value(self, value, path):
        """Any object; path: its place, for error texts."""
        if value is None:
            self.out += b"N"
        elif type(value) is bool:
            self.out += b"\x88" if value else b"\x89"
        elif type(value) is int:
            self.integer(value)
        elif type(value) is float:
            self.out += b"G" + struct.pack(">d", value)
        elif type(value) is str:
            self.text(value)
        elif not self._recall(id(value)):
            self._object(value, path)
            if id(value) not in self.memo:
                self._remember(id(value))
            self.keep.append(value)  # ids stay unique while the pickle is made

    def _object(self, value, path):
        if isinstance(value, _C.Tensor):
            self._tensor(value, path)
        elif isinstance(value, Mapping):
            self._mapping(value, path)
        elif isinstance(value, _C.Size):
            self.name("torch", "Size")
            self.sequence((tuple(value),), path)
            self.out += b"R"
        elif isinstance(value, list):
            self.out += b"]"
            self._remember(id(value))
            if value:
                self.out += b"("
                for i, item in enumerate(value):
                    self.value(item, f"{path}.{i}" if path else str(i))
                self.out += b"e"
        elif isinstance(value, tuple):
            self.sequence(value, path)
        elif isinstance(value, (set, frozenset)):
            self.name("__builtin__", "set")  # torch.load knows no frozenset
            self.sequence((list(value),), path)
            self.out += b"R"
        elif isinstance(value, (bytes, bytearray)):
            self._bytes(bytes(value))
        elif isinstance(value, complex):
            self.name("__builtin__", "complex")
            self.sequence((value.real, value.imag), path)
            self.out += b"R"
        elif isinstance(value, _C.dtype):
            self.name("torch", name_of(value))
        elif isinstance(value, _C.device):
            self.name("torch", "device")
            self.sequence((value.type,) if value.index is None else (value.type, value.index), path)
            self.out += b"R"
        elif type(value).__module__ == "numpy" and hasattr(value, "dtype"):
            self._numpy(value, path)
        else:
            self._module(value, path)

    def _mapping(self, value, path):
        versions = getattr(value, "_metadata", None)
        if isinstance(value, OrderedDict) or versions is not None:
            self.name("collections", "OrderedDict")
            self.out += b")R"
        elif isinstance(value, Counter):
            self.name("collections", "Counter")
            self.sequence((dict(value),), path)
            self.out += b"R"
            return
        else:
            self.out += b"}"  # a defaultdict too: torch.load does not know it
        self._remember(id(value))
        self._items(value, path)
        if versions is not None:
            self.out += b"}"
            self._items({"_metadata": OrderedDict(versions)}, path)
            self.out += b"b"

    def _bytes(self, data):
        self.name("_codecs", "encode")
        self.sequence((data.decode("latin1"), "latin1"), "")
        self.out += b"R"

    def _numpy(self, value, path):
        if getattr(value, "ndim", 0) == 0:
            self.value(value.item(), path)  # torch.load(weights_only=True) knows no numpy numbers
            return
        import numpy
        if value.dtype.kind not in "biufc":
            raise TypeError(f"save: the numpy array at {path or 'the top'} has dtype {value.dtype}, which cannot be "
                            "saved; convert it to numbers or to a list")
        # As numpy pickles itself. torch.load reads it with weights_only=False.
        self.name("numpy.core.multiarray", "_reconstruct")
        self.name("numpy", "ndarray")
        self.out += b"K\0\x85"
        self._bytes(b"b")
        self.out += b"\x87R("
        self.integer(1)
        self.sequence(value.shape, path)
        self.name("numpy", "dtype")
        self.text(value.dtype.str[1:])
        self.out += b"\x89\x88\x87R(K\x03"
        self.text("<" if value.dtype.itemsize > 1 else "|")
        self.out += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89"
        plain = numpy.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        self._bytes(plain.tobytes())
        self.out += b"tb"

    # ---- tensors ------------------------------------------------------------------------------------------------
    def _tensor(self, value, path):
        from ..nn.parameter import Parameter
        attributes = {key: item for key, item in vars(value).items() if not key.startswith("_")}
        if isinstance(value, Parameter):
            self.name("torch._utils", "_rebuild_parameter_with_state" if attributes else "_rebuild_parameter")
            self.out += b"("
            self._plain_tensor(value.detach(), False)
            self.out += b"\x88" if value.requires_grad else b"\x89"
            self._no_hooks()
            if attributes:
                self.value(attributes, path)
            self.out += b"tR"
        elif attributes and type(value) is _C.Tensor:
            self.name("torch._tensor", "_rebuild_from_type_v2")
            self.out += b"("
            self.name("torch._utils", "_rebuild_tensor_v2")
            self.name("torch", "Tensor")
            self._tensor_args(value, value.requires_grad)
            self.value(attributes, path)
            self.out += b"tR"
        else:
            self._plain_tensor(value, value.requires_grad)

    def _no_hooks(self):
        self.name("collections", "OrderedDict")
        self.out += b")R"

    def _plain_tensor(self, t, requires_grad):
        self.name("torch._utils", "_rebuild_tensor_v2")
        self._tensor_args(t, requires_grad)
        self.out += b"R"

    def _tensor_args(self, t, requires_grad):
        flat = _C._whole_storage(t.detach())
        number = self.storages.setdefault((flat._storage_id(), flat.dtype), (len(self.storages), flat))[0]
        self.out += b"(("
        self.text("storage")
        self.name("torch", _STORAGES[name_of(t.dtype)])
        self.text(str(number))
        self.text(str(t.device))
        self.integer(flat.numel())
        self.out += b"tQ"
        self.integer(t.storage_offset())
        self.sequence(tuple(t.shape), "")
        self.sequence(t.stride(), "")
        self.out += b"\x88" if requires_grad else b"\x89"
        self._no_hooks()
        self.out += b"t"

    # ---- whole modules ------------------------------------------------------------------------------------------
    def _module(self, value, path):
        """A Module: the name of its class and its attributes. A function: its name."""
        from ..nn import Module
        if isinstance(value, Module):
            kind = type(value)
            if "<locals>" in kind.__qualname__:
                raise TypeError(f"save: the class {kind.__qualname__} (at {path or 'the top'}) is local to a function, "
                                "so that load could not find it; move it to the top of its file, or save the "
                                "state_dict()")
            self.name(kind.__module__, kind.__qualname__)
            self.out += b")\x81"
            self._remember(id(value))
            state = dict(value.__getstate__())
            for table in ("_parameters", "_buffers", "_modules"):
                members = state.get(table, {})
                state = {key: item for key, item in state.items() if not (key in members and item is members[key])}
                state[table] = dict(members)
            self.value(state, path)
            self.out += b"b"
            return
        from ._globals import function_name
        name = function_name(value)
        if name is None:
            raise cannot_save(value, path)
        self.name(*name)


class TorchFile:
    """An object made ready for writing in PyTorch's format: `size` in bytes (about), `write(out)`."""

    def __init__(self, obj):
        pickler = _Pickler()
        pickler.out += b"\x80\x02"
        try:
            pickler.value(obj, "")
        except RecursionError:
            raise ValueError("save: the object is nested too deeply") from None
        self.pickle = bytes(pickler.out + b".")
        self.storages = [flat for _, flat in pickler.storages.values()]
        self.size = len(self.pickle) + sum(t.numel() * t.element_size() + 256 for t in self.storages) + 1024

    def write(self, out):
        """Writes the archive to a binary file: stored records, their data aligned to 64 bytes."""
        import zipfile
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
            self._record(archive, "data.pkl", self.pickle)
            self._record(archive, ".format_version", b"1")
            self._record(archive, ".storage_alignment", str(_ALIGNMENT).encode())
            self._record(archive, "byteorder", b"little")
            for i, flat in enumerate(self.storages):
                self._record(archive, f"data/{i}", bytes_of(flat.cpu()) if flat.numel() else b"")
            self._record(archive, "version", b"3\n")
            number = int.from_bytes(sha256(self.pickle).digest(), "big") % 10**40
            self._record(archive, ".data/serialization_id", f"{number:040d}".encode())

    @staticmethod
    def _record(archive, name, data):
        import zipfile
        info = zipfile.ZipInfo(f"archive/{name}", (1980, 1, 1, 0, 0, 0))
        size = len(data)
        long = size > _ZIP64_SIZE
        begin = archive.fp.tell() + 30 + len(info.filename) + (20 if long else 0)
        room = -(begin + 4) % _ALIGNMENT
        info.extra = b"FB" + struct.pack("<H", room) + b"Z" * room
        with archive.open(info, "w", force_zip64=long) as record:
            record.write(data)
