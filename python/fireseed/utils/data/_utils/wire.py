"""Objects over a socket: pickles whose tensors and arrays travel beside them, from memory to memory.

No shared memory files are made, so the size of /dev/shm does not matter. cloudpickle packs what is defined in scripts,
notebooks and at the prompt by value, so nothing is imported again.
"""
import io
import mmap
import os
import pickle
import struct

from .... import _C
from ...._pickle import _Storage

_HEAD = struct.Struct("<QI")  # bytes of the pickle, number of buffers


def cloudpickle():
    """The cloudpickle package; an error that names the extra where it is missing."""
    try:
        import cloudpickle
    except ImportError as error:
        raise ImportError("DataLoader(worker_type='process') needs the cloudpickle package: pip install fireseed[data], "
                          "or use worker_type='thread'") from error
    return cloudpickle


def _bytes_of(tensor):
    """A dense tensor's memory as a 1-dim uint8 tensor."""
    return tensor.detach().reshape(-1).view(_C.uint8)


def _elements(data, dtype):
    """The 1-dim tensor of dtype in data: a uint8 tensor that was received, or bytes from inside the pickle."""
    if not isinstance(data, _C.Tensor):
        data = _C.frombuffer(bytearray(data), dtype=_C.uint8) if len(data) else _C.empty(0, dtype=_C.uint8)
    return data.view(dtype)


def _load_storage(data, dtype):
    return _Storage(_elements(data, dtype))


def _load_tensor(data, dtype, shape, requires_grad):
    return _elements(data, dtype).view(shape).requires_grad_(requires_grad)


def dumps(value, whole=False):
    """(pickle, buffers). whole: tensors keep sharing storages, and whole storages are sent; else only their elements."""
    base = cloudpickle().Pickler

    class Pickler(base):
        def reducer_override(self, obj):
            if type(obj) is _Storage:
                return _load_storage, (pickle.PickleBuffer(memoryview(_bytes_of(obj.flat))), obj.flat.dtype)
            if type(obj) is _C.Tensor and not whole and obj.is_leaf and not obj.__dict__:
                dense = obj.detach().contiguous()
                return _load_tensor, (pickle.PickleBuffer(memoryview(_bytes_of(dense))), obj.dtype, tuple(obj.shape),
                                      obj.requires_grad)
            return super().reducer_override(obj)

    file, buffers = io.BytesIO(), []
    Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
    return file.getbuffer(), [buffer.raw() for buffer in buffers]


def send(sock, data, buffers=()):
    """Sends what dumps() gave."""
    sizes = struct.pack(f"<{len(buffers)}Q", *(b.nbytes for b in buffers))
    sock.sendall(b"".join((_HEAD.pack(len(data), len(buffers)), sizes, data)))
    for buffer in buffers:
        sock.sendall(buffer)


def _fill(sock, view):
    while view.nbytes:
        count = sock.recv_into(view)
        if count == 0:
            raise EOFError
        view = view[count:]


def _take(sock, count):
    data = bytearray(count)
    _fill(sock, memoryview(data))
    return data


def receive(sock):
    """What the other side sent, as (pickle, buffers) for loads(); EOFError where it is gone."""
    length, count = _HEAD.unpack(_take(sock, _HEAD.size))
    sizes = struct.unpack(f"<{count}Q", _take(sock, 8 * count))
    data = _take(sock, length)
    buffers = [_C.empty(size, dtype=_C.uint8) for size in sizes]
    for buffer in buffers:
        if buffer.numel():
            _fill(sock, memoryview(buffer))
    return data, buffers


def loads(data, buffers=()):
    """The object of a pickle and its buffers."""
    return pickle.loads(data, buffers=buffers)


# --- Large objects for several processes: one anonymous file that each of them maps, copied where it is written to ------

def to_file(value):
    """(file descriptor, layout): value in an anonymous file in memory."""
    data, buffers = dumps(value, whole=True)
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("fireseed-data")
    else:
        import tempfile
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    places, at = [], 0
    with open(fd, "wb", closefd=False) as file:
        for part in (data, *buffers):
            at = -(-at // 64) * 64
            file.seek(at)
            file.write(part)
            places.append((at, part.nbytes))
            at += part.nbytes
        file.truncate(max(at, 1))
    return fd, places


def from_file(fd, places):
    """The object that to_file() wrote; its tensors and arrays lie in the mapped file. Closes fd."""
    memory = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_COPY))
    os.close(fd)
    data, *buffers = [memory[at:at + size] for at, size in places]
    return loads(data, [_C.frombuffer(b, dtype=_C.uint8) if b.nbytes else b for b in buffers])
