"""What all readers share: bounded reading, plain or gzip; errors that name the file, what was expected and found."""
import gzip
import os
import zlib

_CHUNK = 1 << 20


class DamagedFile(ValueError):
    """A file that is not what it should be. The text names the file, what was expected and what was found."""

    def __init__(self, path, expected, found, advice="The file is damaged, cut short or of another format"):
        self.path, self.expected, self.found = os.fspath(path), expected, found
        super().__init__(f"{self.path}: expected {expected}, found {found}" + (f". {advice}" if advice else ""))


class Reader:
    """Reads a file front to back, by gzip where its first two bytes are 1f 8b. Memory follows what the file holds.

    A count in a header is only a claim: :meth:`read` takes bytes piece by piece and raises DamagedFile where they end
    before it, so that a claim of 2^40 images costs nothing.
    """

    def __init__(self, path):
        self.path = os.fspath(path)
        if os.path.isdir(self.path):
            raise IsADirectoryError(f"{self.path} is a folder, expected a file")
        self._file = open(self.path, "rb")
        self.size = os.fstat(self._file.fileno()).st_size
        zipped = self._file.read(2) == b"\x1f\x8b"
        self._file.seek(0)
        self._stream = gzip.GzipFile(fileobj=self._file) if zipped else self._file
        self.zipped = zipped

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._file.close()

    def _some(self, n):
        try:
            return self._stream.read(n)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DamagedFile(self.path, "a whole gzip stream", str(error)) from error

    def read(self, n, what):
        """n bytes, a bytearray; `what` says in the error what they are."""
        if not self.zipped and n > self.size - self._file.tell():
            raise DamagedFile(self.path, f"{n} bytes of {what}", f"{self.size - self._file.tell()}")
        out = bytearray()
        while len(out) < n:
            piece = self._some(min(_CHUNK, n - len(out)))
            if not piece:
                raise DamagedFile(self.path, f"{n} bytes of {what}", f"{len(out)}")
            out += piece
        return out

    def end(self, what):
        """Raises DamagedFile unless the file ends here. A gzip stream's checksum is verified by this."""
        if self._some(1):
            raise DamagedFile(self.path, f"the end of the file after {what}", "more bytes")


def read_whole(path):
    """All bytes of a file, plain or gzip: at most ~1000 times its size, which is as far as gzip goes."""
    with Reader(path) as reader:
        out = bytearray()
        while piece := reader._some(_CHUNK):
            out += piece
        return out


def read_text(path, encoding="utf-8", errors="strict"):
    """A text file's content (plain or gzip) without a byte-order mark; bad bytes are a DamagedFile with their line."""
    data = read_whole(path)
    try:
        text = data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DamagedFile(path, f"text in {encoding}", f"byte 0x{data[error.start]:02x} at offset {error.start} "
                          f"(line {line})", "Another encoding= or errors='replace' may read it") from error
    return text.removeprefix("\ufeff")


def find(folders, names, what, source, download=False):
    """The first existing folder/name; an error saying what to put where if there is none.

    FileNotFoundError, or, with download, RuntimeError: whoever asks for a download has no file to miss.
    """
    for folder in folders:
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
    text = (f"no file {' or '.join(map(repr, names))} in {' or '.join(map(repr, folders))}. fireseed reads local files and "
            f"downloads nothing: {source}")
    if download:
        raise RuntimeError(f"{what}(download=True): {text}. Where the files are, download=True does no harm")
    raise FileNotFoundError(f"{what}: {text}")


def needs(module, extra, why):
    """Imports an optional package; an ImportError names the extra that brings it."""
    from importlib import import_module
    try:
        return import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        package = {"PIL": "Pillow", "sklearn": "scikit-learn"}.get(name, name)
        raise ImportError(f"{why} needs {package}: pip install 'fireseed[{extra}]' (or pip install {package.lower()})"
                          ) from error
