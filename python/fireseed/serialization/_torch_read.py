"""Reads PyTorch's files, zip archives and the older streams of pickles, without PyTorch and without running code."""
import io
from zlib import crc32

from .. import _C
from ._files import DamagedFileError
from ._globals import Finder, Storage, StorageType, build, module_class
from ._unpickler import Machine, UnpicklingError

_MAGIC = 0x1950A86A20F9469CFC6C
_BROKEN = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RuntimeError, LookupError)


def _run(source, machine, what):
    """The object of a Machine's pickle; every fault of the file becomes an error that names it."""
    try:
        return machine.run()
    except DamagedFileError:
        raise
    except NotImplementedError as error:
        raise NotImplementedError(f"load: {source.name}: {error}") from None
    except UnpicklingError as error:
        raise UnpicklingError(f"load: {source.name}: {error}") from None
    except _BROKEN as error:
        source.fail(f"damaged ({what}, at {machine.path()}: {type(error).__name__}: {error})")


def _checked_id(pid, lengths):
    """(dtype or None, key, location, count) of a storage's persistent id."""
    if type(pid) is not tuple or len(pid) not in lengths or pid[0] != "storage":
        raise ValueError("a reference to what is no storage")
    _, kind, key, location, count = pid[:5]
    if not isinstance(kind, StorageType) or type(key) is not str or type(location) is not str \
            or type(count) is not int or count < 0:
        raise ValueError("a reference to a storage that is none")
    return kind.dtype, key, location, count


class _Archive:
    """A zip file's records by name; none is compressed, so that each is a range of the file."""

    def __init__(self, source):
        import zipfile
        self.source = source
        try:
            source.file.seek(source.start)
            records = zipfile.ZipFile(source.file).infolist()
        except Exception as error:  # zipfile raises a dozen types for broken archives
            source.fail(f"damaged: not a whole zip archive ({error})")
        self.records = {info.filename: info for info in records}
        roots = [name[:-len("data.pkl")] for name in self.records if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(roots) != 1:
            source.fail("a zip archive, but not one that PyTorch's save wrote (data.pkl is missing)")
        self.root = roots[0]
        self.unread = source.size  # no more than the file's size is ever read from it

    def __contains__(self, name):
        return self.root + name in self.records

    def place(self, name):
        """(offset, size, checksum) of a record."""
        fail, info = self.source.fail, self.records.get(self.root + name)
        if info is None:
            fail(f"damaged: the record {name} is missing")
        if info.compress_type != 0 or info.flag_bits & 1:
            fail(f"the record {name} is compressed or encrypted, as no file of PyTorch's is; unpack the archive and "
                 "pack it again without compression (zip -0)")
        at = info.header_offset - self.source.start
        head = self.source.read(at, 30)
        if head[:4] != b"PK\3\4" or info.compress_size != info.file_size:
            fail(f"damaged: the record {name}")
        at += 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        self.unread -= info.file_size
        if self.unread < 0:
            fail("damaged: records lie over one another")
        return at, info.file_size, info.CRC

    def read(self, name):
        """A record's bytes."""
        at, size, checksum = self.place(name)
        data = self.source.read(at, size)
        if checksum and crc32(data) != checksum:
            self.source.fail(f"damaged: the checksum of {name} does not hold")
        return data

    def tensor(self, name, mapped):
        """A record as a uint8 tensor."""
        at, size, checksum = self.place(name)
        raw = self.source.tensor(at, size, mapped)
        # A checksum of 0 means that PyTorch was told to write none.
        if checksum and not mapped and crc32(memoryview(raw)) != checksum:
            self.source.fail(f"damaged: the checksum of {name} does not hold")
        return raw


def _load_zip(source, placer, weights_only, mapped, encoding):
    archive = _Archive(source)
    if "constants.pkl" in archive or any("/code/" in name for name in archive.records):
        raise NotImplementedError(f"load: {source.name} is a TorchScript archive, whose program fireseed cannot run; "
                                  "save the model's state_dict() with torch.save")
    order = archive.read("byteorder").strip() if "byteorder" in archive else b"little"
    if order not in (b"little", b"big"):
        source.fail("damaged: the byte order")
    raws, storages = {}, {}

    def persistent(machine, pid):
        dtype, key, location, count = _checked_id(pid, (5,))
        if key not in raws:
            raws[key] = archive.tensor(f"data/{key}", mapped)
        raw, itemsize = raws[key], 1 if dtype is None else dtype.itemsize
        if raw.numel() != count * itemsize:
            raise ValueError(f"the storage {key} has {raw.numel()} bytes, {count * itemsize} expected")

        def flat(dtype):
            made = storages.get((key, dtype))
            if made is None:
                made = storages[key, dtype] = placer.place(_elements(raw, dtype, order), location)
            return made

        return Storage(flat, dtype)

    data = archive.read("data.pkl")
    machine = Machine(io.BytesIO(data), len(data), Finder(weights_only is False), persistent, build, encoding)
    return _run(source, machine, "data.pkl")


def _elements(raw, dtype, order=b"little"):
    """Bytes as a 1-dim tensor of dtype on the same memory; bytes of bool are made 0 or 1."""
    if raw.numel() % dtype.itemsize:
        raise ValueError(f"{raw.numel()} bytes are no storage of {dtype}")
    if dtype == _C.bool:
        return raw.ne(0)
    if order == b"big" and dtype.itemsize > 1:
        raw = raw.view(-1, dtype.itemsize).flip(1).reshape(-1)
    return raw.view(dtype)


class _Window(io.RawIOBase):
    """A Source as a raw file, for a buffered reader."""

    def __init__(self, source):
        self.source, self.at = source, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        self.at = offset + (0 if whence == 0 else self.at if whence == 1 else self.source.size)
        return self.at

    def tell(self):
        return self.at

    def readinto(self, buffer):
        n = max(min(len(buffer), self.source.size - self.at), 0)
        if n:
            self.source.read_into(self.at, memoryview(buffer)[:n])
            self.at += n
        return n


def _load_stream(source, placer, weights_only, encoding):
    """Files of torch < 1.6: magic number, version, system, object, list of storages, then the storages' elements."""
    file = io.BufferedReader(_Window(source))
    held = {}  # key -> (raw, flat, dtype)
    promised = [0]

    def persistent(machine, pid):
        if type(pid) is tuple and len(pid) == 4 and pid[0] == "module":  # (…, class, file, source of the class)
            return module_class(pid[1])
        dtype, key, location, count = _checked_id(pid, (5, 6))
        dtype = dtype or _C.uint8
        if key not in held:
            promised[0] += count * dtype.itemsize
            if promised[0] > source.size:
                raise ValueError(f"storages of {promised[0]} bytes in a file of {source.size}")
            raw = _C.empty(count * dtype.itemsize, dtype=_C.uint8)
            held[key] = raw, placer.place(raw.view(dtype), location), dtype
        raw, flat, kind = held[key]
        if kind != dtype or raw.numel() != count * dtype.itemsize:
            raise ValueError(f"the storage {key} comes in two kinds")
        view = pid[5] if len(pid) == 6 else None
        if view is not None:
            _, start, n = view
            if not (0 <= start <= start + n <= count):
                raise ValueError(f"a part of the storage {key} outside it")
            flat = flat[start:start + n]
        return Storage(lambda asked: flat if asked == dtype else flat.view(asked), dtype)

    def item(what, modules=False):
        return _run(source, Machine(file, source.size, Finder(modules), persistent, build, encoding), what)

    if item("magic number") != _MAGIC:
        source.fail("a pickle that PyTorch's save did not write (its magic number is missing)")
    if item("version") != 1001:
        source.fail("written by an unknown version of PyTorch's format")
    item("system")
    result = item("object", weights_only is False)
    keys = item("list of storages")
    if not isinstance(keys, list) or len(set(map(str, keys))) != len(keys) or not set(held) <= set(keys):
        source.fail("damaged: the list of storages")
    at = file.tell()
    for key in keys:
        count = int.from_bytes(source.read(at, 8), "little")
        if key not in held:
            source.fail(f"damaged: the list of storages names {key!r}, which nothing uses")
        raw, flat, dtype = held[key]
        if count * dtype.itemsize != raw.numel():
            source.fail(f"damaged: the storage {key} has {count} elements, {raw.numel() // dtype.itemsize} expected")
        if count:
            source.read_into(at + 8, memoryview(raw))
            if dtype == _C.bool:
                raw.copy_(raw.ne(0))
            if flat.data_ptr() != raw.data_ptr():
                flat.copy_(raw.view(dtype))
        at += 8 + raw.numel()
    source.seek(at)
    return result


def load_torch(source, start, placer, weights_only, mapped, encoding):
    """The object of a file by PyTorch, whose first bytes are `start`."""
    if start[:2] == b"PK":
        return _load_zip(source, placer, weights_only, mapped, encoding)
    if mapped:
        raise RuntimeError(f"load: {source.name}: mmap=True needs a file in the zip format (PyTorch 1.6 and later)")
    return _load_stream(source, placer, weights_only, encoding)
