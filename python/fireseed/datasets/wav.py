"""WAV: uncompressed sound, 8 to 32-bit integers and floats, read by its chunks."""
import os
import struct

from .. import _C
from ._files import DamagedFile

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {(_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "i24", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4",
          (_FLOAT, 64): "<f8"}
_UNKNOWN = 0xFFFFFFFF  # the length that programs write who could not go back to the header


def _format(path, body):
    """(format code, bits, channels, rate, bytes a frame) of a fmt chunk."""
    if len(body) < 16:
        raise DamagedFile(path, "a fmt chunk of 16 bytes or more", f"{len(body)}")
    code, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", body)
    if code == _EXTENSIBLE and len(body) >= 26:
        code = struct.unpack_from("<H", body, 24)[0]  # the first two bytes of the subformat's GUID
    if (code, bits) not in _KINDS:
        raise DamagedFile(path, "PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64", f"format {code} of {bits} bits "
                          "(compressed sound must be converted first)")
    if channels == 0 or rate == 0 or frame != channels * bits // 8:
        raise DamagedFile(path, f"channels and rate above 0, {channels * bits // 8} bytes a frame",
                          f"{channels} channels, {rate} Hz, {frame} bytes a frame")
    return code, bits, channels, rate, frame


def _samples(data, kind):
    """The numbers of a data chunk as a numpy array; 24-bit integers come in int32."""
    import numpy as np
    if kind != "i24":
        return np.frombuffer(data, kind)
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.reshape(-1).view("<i4") >> 8


def read_wav(path, normalize=True, channels_first=True):
    """(waveform, sample rate in Hz) of a WAV file; the waveform is a tensor (channels, frames).

    normalize: float32 in [-1, 1), an n-bit integer divided by 2^(n-1) (float files as they are); otherwise the file's
    numbers: uint8 (8 bits, 128 is silence), int16, int32 (24 and 32 bits), float32, float64. channels_first=False:
    (frames, channels). RIFF/WAVE, format codes 1 (PCM), 3 (IEEE float) and 0xFFFE (extensible) of these. ValueError
    names the file, what was expected and what was found.
    """
    import numpy as np
    path = os.fspath(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise DamagedFile(path, "a RIFF header of type WAVE", head.hex(" ") or "an empty file")
        form = data = None
        while data is None:
            chunk = file.read(8)
            if len(chunk) < 8:
                missing = "data" if form else "fmt"
                raise DamagedFile(path, f"a {missing} chunk", "the end of the file")
            name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
            left = size - file.tell()
            if name == b"data":
                if form is None:
                    raise DamagedFile(path, "a fmt chunk before the data chunk", "none")
                if length == _UNKNOWN:
                    length = left - left % form[4]
                if length > left:
                    raise DamagedFile(path, f"{length} bytes of sound", f"{left}")
                if length % form[4]:
                    raise DamagedFile(path, f"whole frames of {form[4]} bytes", f"{length} bytes of sound")
                data = file.read(length)
            elif length > left:
                raise DamagedFile(path, f"{length} bytes in the chunk {name!r}", f"{left}")
            elif name == b"fmt ":
                form = _format(path, file.read(length))
                file.seek(length & 1, 1)
            else:
                file.seek(length + (length & 1), 1)
    code, bits, channels, rate, _ = form
    samples = _samples(data, _KINDS[code, bits]).reshape(-1, channels)
    if normalize and code == _PCM:
        scale = np.float32(1 / (1 << (bits - 1)))
        samples = samples.astype(np.float32) - 128 if bits == 8 else samples.astype(np.float32)
        samples *= scale
    elif normalize:
        samples = samples.astype(np.float32)
    samples = samples.T if channels_first else samples
    return _C.from_numpy(np.array(samples, order="C")), rate
