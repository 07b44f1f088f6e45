"""datasets: mutated files for each reader; only ValueError and OSError may come out, and memory stays bounded.

FIRESEED_FUZZ=5000 sets how many for each of them (400).
"""
import gzip
import io
import os
import pickle
import random
import resource

import numpy as np
import pytest
from fireseed import datasets as D
from fireseed.datasets.folder import pil_loader
from test_datasets import cifar_records, float_wav, python2_pickle

ROUNDS = int(os.environ.get("FIRESEED_FUZZ", "400"))


def mutants(whole, n, seed=0):
    """n damaged copies: bytes changed, cut, doubled, set to extremes, or the numbers in the first 64 bytes blown up."""
    rng = random.Random(seed)
    for _ in range(n):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
            at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(64, len(data)))
            kind = rng.randrange(6)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                data[at:at + 4] = rng.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"))
            elif kind == 2:
                del data[at:]
            elif kind == 3:
                del data[at:at + rng.randrange(1, 9)]
            elif kind == 4:
                data[at:at] = data[at:at + rng.randrange(1, 33)]
            else:
                data[at] ^= 1 << rng.randrange(8)
            if not data:
                break
        yield bytes(data)


def png():
    Image = pytest.importorskip("PIL.Image")
    return image_bytes(Image, "PNG")


def image_bytes(Image, kind):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(out, kind)
    return out.getvalue()


def idx():
    return bytes([0, 0, 0x0B, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5]) + bytes(120)


def batch():
    records = cifar_records(2, 1)
    return python2_pickle({"data": records[:, 1:].copy(), "labels": [0, 1], "filenames": ["a", "b"], "batch_label": "x"})


READERS = {
    "idx": (idx, D.read_idx),
    "idx.gz": (lambda: gzip.compress(idx()), D.read_idx),
    "cifar.bin": (lambda: cifar_records(2, 1).tobytes(), D.read_cifar),
    "cifar_pickle": (batch, D.read_cifar_pickle),
    "cifar_pickle_text": (lambda: pickle.dumps({"data": [1, 2], "labels": [0.5, True, None, "x"]}, protocol=0),
                          D.read_cifar_pickle),
    "t.csv": (lambda: b'a,b,c\n1,x,"q ""r"" s"\n2.5,y,true\n,z,\n' * 2, D.read_csv),
    "t.txt": (lambda: "één line\nanother – line\n".encode(), D.TextLines),
    "i16.wav": (lambda: float_wav(np.ones((20, 2), np.float32)).replace(b"\x03\0\x02\0", b"\x01\0\x02\0"), D.read_wav),
    "f32.wav": (lambda: float_wav(np.ones((20, 2), np.float32), True, b"LIST\x04\0\0\0abcd"), D.read_wav),
    "x.png": (png, pil_loader),
    "x.jpg": (lambda: image_bytes(pytest.importorskip("PIL.Image"), "JPEG"), pil_loader),
    "x.bmp": (lambda: image_bytes(pytest.importorskip("PIL.Image"), "BMP"), pil_loader),
    "x.tif": (lambda: image_bytes(pytest.importorskip("PIL.Image"), "TIFF"), pil_loader),
}


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it then refuses
@pytest.mark.parametrize("name", READERS)
def test_mutated_files_are_read_or_refused(tmp_path, name):
    make, read = READERS[name]
    whole, path = make(), tmp_path / name
    path.write_bytes(whole)
    read(path) if name != "cifar_pickle_text" else None  # that one is whole, but no CIFAR batch
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for data in mutants(whole, ROUNDS):
        path.write_bytes(data)
        try:
            read(path)
        except (ValueError, OSError) as error:
            refused += 1
            assert str(path) in str(error), error
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert refused > ROUNDS // 50
    assert grown < 400_000  # KiB: an image may claim 100 million pixels, which Pillow takes 3 bytes each for
