"""Files for save and load: written whole or not at all, read in pieces whose size is checked first."""
import errno
import io
import itertools
import os
import stat

_saves = itertools.count()  # threads of one process may save to one path
_PIECE = 1 << 20  # bytes read at once where a source cannot say how many it has


class DamagedFileError(RuntimeError):
    """A file that is cut short, whose checksums do not hold, or that is of no known format. The text names it."""

    __module__ = "fireseed.serialization"


def is_path(f):
    """Whether f names a file: a str, bytes or pathlib.Path, and not an open file."""
    return isinstance(f, (str, bytes, os.PathLike))


def sync_folder(folder):
    """Makes the names in a folder survive a power cut, where the system can do that."""
    try:
        handle = os.open(folder or ".", os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _check_space(folder, size):
    """OSError before a byte is written, where the disk has no room for size bytes."""
    if not hasattr(os, "statvfs"):
        return
    try:
        room = os.statvfs(folder or ".")
    except OSError:
        return
    free = room.f_bavail * room.f_frsize
    if 0 < room.f_blocks and free < size:
        raise OSError(errno.ENOSPC, f"save: {size / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free; the file "
                      "that was there is untouched", folder or ".")


def write_atomic(f, size, write):
    """Calls write(out) for a path or an open binary file; size: the bytes to come, about.

    A path is written to a temporary file beside it, which is synced and then takes its name. Whatever happens, there
    is the old file or the new one, never a part of one.
    """
    if not is_path(f):
        if not hasattr(f, "write"):
            raise TypeError(f"save(obj, f): expected f, the second argument, to be a path or a file opened for writing in "
                            f"binary mode, got a {type(f).__name__}")
        if isinstance(f, io.TextIOBase):
            raise TypeError('save: the file is open in text mode; open it with mode "wb"')
        write(f)
        return
    path, mode = os.path.realpath(os.fsdecode(f)), None
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        pass
    if mode is not None and not stat.S_ISREG(mode):  # /dev/null, a pipe: nothing to replace
        with open(path, "wb") as out:
            write(out)
        return
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "save: the folder does not exist; make it with os.makedirs", folder)
    _check_space(folder, size)
    temporary = os.path.join(folder, f".{name}.{next(_saves)}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))  # who could read the old file can read the new one
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    sync_folder(folder)


def remove_leftovers(folder):
    """Removes the temporary files in folder of processes that were killed while they saved."""
    for name in os.listdir(folder):
        stem, dot, tail = name.rpartition(".")
        pid = stem.rpartition(".")[2]
        if not (name.startswith(".") and dot and tail == "tmp" and pid.isdigit()):
            continue
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            try:
                os.remove(os.path.join(folder, name))
            except OSError:
                pass
        except (OSError, OverflowError):
            pass


class Source:
    """Bytes to load from: a path, or an open binary file from its position on. Offsets count from there.

    No read asks for more memory than there are bytes left. `name` is for error texts.
    """

    def __init__(self, f, what):
        self.own = is_path(f)
        if self.own:
            self.name = os.fsdecode(f)
            self.file = open(self.name, "rb")
        else:
            if isinstance(f, io.TextIOBase):
                raise TypeError(f'{what}: the file is open in text mode; open it with mode "rb"')
            if not hasattr(f, "read"):
                raise TypeError(f"{what}: expected a path or a file opened for reading in binary mode, got a "
                                f"{type(f).__name__}")
            self.name, self.file = str(getattr(f, "name", "the file object")), f
        try:
            self.start = self.file.tell()
            self.size = self.file.seek(0, os.SEEK_END) - self.start
        except (AttributeError, OSError):  # a stream: all of it is needed
            self.file, self.start = io.BytesIO(self.file.read()), 0
            self.size = len(self.file.getbuffer())
        self.file.seek(self.start)
        self._map = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.own:
            self.file.close()

    def fail(self, text):
        """Raises DamagedFileError with the file's name."""
        raise DamagedFileError(f"load: {self.name}: {text}") from None

    def read(self, offset, n):
        """n bytes from offset on."""
        if n < 0 or offset < 0 or offset + n > self.size:
            self.fail(f"damaged: cut short ({self.size} bytes, {offset + n} expected)")
        self.file.seek(self.start + offset)
        data = self.file.read(n)
        if len(data) != n:
            self.fail(f"damaged: cut short (at byte {offset + len(data)})")
        return data

    def read_into(self, offset, buffer):
        """Fills a writable memoryview from offset on."""
        n = buffer.nbytes
        if offset < 0 or offset + n > self.size:
            self.fail(f"damaged: cut short ({self.size} bytes, {offset + n} expected)")
        self.file.seek(self.start + offset)
        fill = getattr(self.file, "readinto", None)
        done = 0
        while done < n:
            if fill is not None:
                got = fill(buffer[done:])
            else:
                piece = self.file.read(min(n - done, _PIECE))
                got = len(piece)
                buffer[done:done + got] = piece
            if not got:
                self.fail(f"damaged: cut short (at byte {offset + done})")
            done += got

    def seek(self, offset):
        """Leaves an open file behind what was loaded, so that the next object of it can follow."""
        if not self.own:
            self.file.seek(self.start + offset)

    def tensor(self, offset, n, mapped=False):
        """n bytes as a uint8 tensor; mapped: as private pages of the file, read when they are used."""
        from .. import _C

        if mapped and n:
            if self._map is None:
                import mmap
                if not self.own:
                    raise ValueError("load: mmap=True needs the path of a file, not an open file")
                self._map = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_COPY)
            if offset < 0 or offset + n > self.size:
                self.fail(f"damaged: cut short ({self.size} bytes, {offset + n} expected)")
            return _C.frombuffer(memoryview(self._map)[offset:offset + n], dtype=_C.uint8)
        if n < 0 or offset + n > self.size:
            self.fail(f"damaged: cut short ({self.size} bytes, {offset + n} expected)")
        raw = _C.empty(n, dtype=_C.uint8)
        if n:
            self.read_into(offset, memoryview(raw))
        return raw


def bytes_of(tensor):
    """A dense CPU tensor's memory as a memoryview of bytes."""
    from .. import _C
    return memoryview(tensor.reshape(-1).view(_C.uint8))


def typed(raw, dtype, shape):
    """A uint8 tensor's memory as a tensor of dtype and shape. bool is copied, so that it holds 0 and 1 only."""
    from .. import _C
    if dtype == _C.bool:
        return raw.ne(0).view(shape)
    return raw.view(dtype).view(shape)
