"""save and load: safetensors files, written atomically and checksummed; PyTorch's files; no code in a file is run."""
from ._files import DamagedFileError, Source, write_atomic
from ._native import KEY, SUM, NativeFile, load_native, read_header

__all__ = ["DamagedFileError", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "load_metadata",
           "safe_globals", "save"]

_ALLOWING = ("add_safe_globals", "clear_safe_globals", "get_safe_globals", "safe_globals")


def __getattr__(name):
    if name in _ALLOWING:  # only for files of PyTorch, so it loads when it is named
        from . import _globals
        return getattr(_globals, name)
    raise AttributeError(f"module 'fireseed.serialization' has no attribute '{name}'")


def save(obj, f, pickle_module=None, pickle_protocol=2, _use_new_zipfile_serialization=True,
         _disable_byteorder_record=False, *, metadata=None, format=None):
    """Saves tensors, numbers, strings, bytes, None and dicts, lists, tuples and sets of them to a path or binary file.

    format: "safetensors" is a safetensors file with checksums, which any reader of that format opens; "torch" is
    PyTorch's zip format, which torch.load(weights_only=True) reads. Default: safetensors, but "torch" for whole modules.
    A path is written to a temporary file next to it, which then takes its name: a crash leaves the old file whole.
    metadata: dict of strings for the header of a safetensors file. TypeError names a part that cannot be saved.
    PyTorch's pickle options are accepted and ignored.
    """
    if format not in (None, "safetensors", "torch"):
        raise ValueError(f'save: format must be "safetensors" or "torch", got {format!r}')
    from ..nn import Module
    if format == "torch" or format is None and isinstance(obj, Module):
        if metadata:
            raise ValueError('save: metadata go into safetensors files; format="torch" has no place for them')
        from ._torch_write import TorchFile
        file = TorchFile(obj)
    else:
        file = NativeFile(obj, metadata)
    write_atomic(f, file.size, file.write)


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, encoding="utf-8", **pickle_args):
    """Loads what save wrote, any safetensors file, or a file of PyTorch's, from a path or a binary file.

    map_location: a device, a dict of device tags, or a function (storage, tag); by default tensors go where they were,
    or to the CPU if that GPU is not there. weights_only=False: whole modules are made too, of classes that are imported
    already. Nothing in a file is ever executed. mmap=True: the tensors of a path are pages of the file, read when they
    are used, and not checked against the checksums. encoding: of text by Python 2.
    DamagedFileError (a RuntimeError): the file is cut short, damaged or of no known format. pickle.UnpicklingError: it
    holds an object that is not data.
    """
    unknown = set(pickle_args) - {"errors", "fix_imports"}
    if unknown:
        raise TypeError(f"load() got an unexpected keyword argument '{sorted(unknown)[0]}'")
    from ._placing import Placer, PlacingError
    placer = Placer(map_location)
    with Source(f, "load") as source:
        start = source.read(0, min(source.size, 512))
        try:
            if start[8:9] == b"{" or start[:2] != b"PK" and start[:1] != b"\x80":
                if start[257:262] == b"ustar":
                    raise NotImplementedError(f"load: {source.name} is of PyTorch before 0.2 (a tar file); load it with "
                                              "PyTorch and save it again")
                return load_native(source, placer, bool(mmap))
            from ._torch_read import load_torch
            return load_torch(source, start, placer, weights_only, bool(mmap), encoding)
        except PlacingError as error:
            raise error.error from None


def load_metadata(f):
    """The header's metadata of a safetensors file, a dict of strings, without fireseed's own entries."""
    with Source(f, "load_metadata") as source:
        header, _ = read_header(source)
        return {k: v for k, v in header["__metadata__"].items() if k not in (KEY, SUM)}
