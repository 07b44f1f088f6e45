"""IDX, the format of the MNIST files: a magic number, big-endian sizes, then the elements; plain or gzip."""
import math

from .. import _C
from ._files import DamagedFile, Reader

# The third byte of the magic number: numpy's dtype of the elements.
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_DIMS = 8


def read_idx(path, ndim=None, dtype=None):
    """The tensor in an IDX file (http://yann.lecun.com/exdb/mnist), plain or gzip.

    uint8, int8, int16, int32, float32 or float64, in the file's shape. ndim, dtype: what the file must hold, if given.
    Raises ValueError (naming the file, what was expected and found) where the file is cut short, damaged, too long, or
    not IDX; memory never exceeds what the file really holds.
    """
    with Reader(path) as reader:
        magic = reader.read(4, "the IDX magic number")
        kind, dims = magic[2], magic[3]
        if magic[:2] != b"\0\0" or kind not in _TYPES or not 1 <= dims <= _MAX_DIMS:
            raise DamagedFile(path, f"an IDX magic number (00 00, a type of {', '.join(f'{k:02x}' for k in _TYPES)}, 1 to "
                              f"{_MAX_DIMS} dimensions)", magic.hex(" "))
        if ndim is not None and dims != ndim:
            raise DamagedFile(path, f"{ndim} dimensions", f"{dims}")
        sizes = reader.read(4 * dims, "IDX sizes")
        shape = tuple(int.from_bytes(sizes[4 * i:4 * i + 4], "big") for i in range(dims))
        code = _TYPES[kind]
        what = f"elements of shape {shape}"
        if math.prod(n for n in shape if n) > 2**56:
            raise DamagedFile(path, "sizes that fit a file", f"{what}")
        data = reader.read(math.prod(shape) * int(code[-1]), what)
        reader.end(what)
    if code == "u1":
        out = _C.frombuffer(data, dtype=_C.uint8) if data else _C.empty(0, dtype=_C.uint8)
    else:
        import numpy as np
        out = _C.from_numpy(np.frombuffer(data, code).astype(code.lstrip(">")))
    if dtype is not None and out.dtype != dtype:
        raise DamagedFile(path, f"elements of {dtype}", f"{out.dtype}")
    return out.reshape(shape)


def write_idx(path, tensor):
    """Writes a tensor (uint8, int8, int16, int32, float32, float64) as IDX; gzip where the name ends in .gz."""
    import gzip

    import numpy as np
    array = tensor.detach().numpy() if isinstance(tensor, _C.Tensor) else np.asarray(tensor)
    kinds = {code.lstrip(">"): kind for kind, code in _TYPES.items()}
    kind = kinds.get(array.dtype.str[1:])
    if kind is None or not 1 <= array.ndim <= _MAX_DIMS:
        raise ValueError(f"write_idx: IDX has no {array.dtype} of {array.ndim} dimensions; it holds uint8, int8, int16, "
                         f"int32, float32 and float64 of 1 to {_MAX_DIMS}")
    header = bytes([0, 0, kind, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    with (gzip.open if str(path).endswith(".gz") else open)(path, "wb") as file:
        file.write(header + array.astype(_TYPES[kind]).tobytes())
