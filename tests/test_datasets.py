"""datasets: what each reader makes of good files, and what it says of bad ones."""
import gzip
import pickle
import struct
import tracemalloc
import wave

import fireseed as fs
import numpy as np
import pytest
from fireseed import datasets as D
from fireseed.datasets import transforms as T
from fireseed.utils.data import DataLoader


@pytest.fixture
def mnist_root(tmp_path):
    """Files as MNIST's: 20 training images in raw/, 5 test images zipped in root."""
    rng = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    D.write_idx(raw / "train-images-idx3-ubyte", rng.integers(0, 256, (20, 28, 28), dtype=np.uint8))
    D.write_idx(raw / "train-labels-idx1-ubyte", (np.arange(20) % 10).astype(np.uint8))
    D.write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", rng.integers(0, 256, (5, 28, 28), dtype=np.uint8))
    D.write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(5, dtype=np.uint8))
    return tmp_path


# --- IDX ---

@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("name", ["x.idx", "x.idx.gz"])
def test_idx_gives_what_was_written(tmp_path, dtype, name):
    x = (np.arange(24).reshape(2, 3, 4) * 5 - 40).astype(dtype)
    D.write_idx(tmp_path / name, x)
    y = D.read_idx(tmp_path / name)
    assert str(y.dtype) == f"fireseed.{dtype}"
    np.testing.assert_array_equal(y.numpy(), x)


def test_idx_bytes_of_the_format(tmp_path):
    (tmp_path / "x").write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 1, 2, 0xFF, 0xFE]))
    assert D.read_idx(tmp_path / "x").tolist() == [258, -2]
    D.write_idx(tmp_path / "empty", np.zeros((0, 28, 28), np.uint8))
    assert D.read_idx(tmp_path / "empty").shape == (0, 28, 28)


@pytest.mark.parametrize("change, message", [
    (lambda b: b[:-1], "expected 60 bytes of elements of shape (3, 4, 5), found 59"),
    (lambda b: b + b"x", "expected the end of the file after elements of shape (3, 4, 5), found more bytes"),
    (lambda b: b[:6], "expected 12 bytes of IDX sizes, found 2"),
    (lambda b: b"\x89PNG" + b[4:], "found 89 50 4e 47"),
    (lambda b: b"", "expected 4 bytes of the IDX magic number, found 0"),
    (lambda b: b[:2] + b"\x0a" + b[3:], "expected an IDX magic number"),
])
def test_idx_damage_is_named(tmp_path, change, message):
    D.write_idx(tmp_path / "x.idx", np.zeros((3, 4, 5), np.uint8))
    (tmp_path / "x.idx").write_bytes(change((tmp_path / "x.idx").read_bytes()))
    with pytest.raises(ValueError) as info:
        D.read_idx(tmp_path / "x.idx")
    assert message in str(info.value) and "x.idx" in str(info.value)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("sizes", [(2**31, 512, 1), (2**32 - 1,) * 3, (2**32 - 1,) * 8])
def test_idx_claims_of_a_header_take_no_memory(tmp_path, sizes, zipped):
    data = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + b"\0" * 100
    (tmp_path / "x").write_bytes(gzip.compress(data) if zipped else data)
    tracemalloc.start()
    with pytest.raises(ValueError, match="expected"):
        D.read_idx(tmp_path / "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def test_cut_gzip_is_named(tmp_path):
    D.write_idx(tmp_path / "x.gz", np.random.default_rng(0).integers(0, 256, (3, 400), dtype=np.uint8))
    whole = (tmp_path / "x.gz").read_bytes()
    (tmp_path / "x.gz").write_bytes(whole[:-300])
    with pytest.raises(ValueError, match="x.gz: expected a whole gzip stream"):
        D.read_idx(tmp_path / "x.gz")
    (tmp_path / "x.gz").write_bytes(whole[:-8] + b"\0" * 8)  # the checksum
    with pytest.raises(ValueError, match="whole gzip stream, found CRC"):
        D.read_idx(tmp_path / "x.gz")


# --- MNIST and its kin ---

def test_mnist_as_torchvision(mnist_root):
    train = D.MNIST(mnist_root, train=True, transform=T.ToTensor())
    test = D.MNIST(str(mnist_root), train=False, target_transform=lambda c: -c)
    assert len(train) == 20 and train.data.shape == (20, 28, 28) and train.data.dtype == fs.uint8
    assert train.targets.dtype == fs.int64 and train.targets.tolist() == [i % 10 for i in range(20)]
    x, y = train[3]
    assert x.shape == (1, 28, 28) and x.dtype == fs.float32 and y == 3 and type(y) is int
    assert fs.equal(x[0], train.data[3].float() / 255)
    assert test[-1][1] == -4 and test[0][0].dtype == fs.uint8
    assert train.classes[7] == "7 - seven" and train.class_to_idx["0 - zero"] == 0
    with pytest.raises(IndexError, match="index 20 is out of range"):
        train[20]
    batch, labels = next(iter(DataLoader(train, batch_size=8)))
    assert batch.shape == (8, 1, 28, 28) and labels.tolist() == list(range(8))
    x, y = train.tensors()[3]
    assert fs.equal(x, train[3][0]) and y == 3
    assert "MNIST" in repr(train) and "20" in repr(train)


def test_fashion_mnist_has_its_own_folder(mnist_root):
    (mnist_root / "MNIST").rename(mnist_root / "FashionMNIST")
    assert D.FashionMNIST(mnist_root).classes[-1] == "Ankle boot"
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        D.MNIST(mnist_root)


def test_mnist_says_what_is_wrong(mnist_root):
    with pytest.raises(RuntimeError, match=r"MNIST\(download=True\): no file .*nowhere/MNIST/raw.*downloads nothing.*put there"):
        D.MNIST(mnist_root / "nowhere", download=True)
    assert len(D.MNIST(mnist_root, download=True)) == 20  # what scripts say; nothing is to be done
    with pytest.raises(FileNotFoundError, match="no file 'train-images-idx3-ubyte'.*downloads nothing"):
        D.MNIST(mnist_root / "nowhere")
    labels = mnist_root / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    D.write_idx(labels, np.full(20, 10, np.uint8))
    with pytest.raises(ValueError, match="labels from 0 to 9, found 10"):
        D.MNIST(mnist_root)
    D.write_idx(labels, np.zeros(19, np.uint8))
    with pytest.raises(ValueError, match="expected 20 labels.*found 19"):
        D.MNIST(mnist_root)
    D.write_idx(labels, np.zeros((20, 1), np.uint8))
    with pytest.raises(ValueError, match="expected 1 dimensions, found 2"):
        D.MNIST(mnist_root)


# --- CIFAR ---

def cifar_records(n, labels, seed=0):
    records = np.random.default_rng(seed).integers(0, 256, (n, labels + 3072), dtype=np.uint8)
    records[:, :labels] = np.arange(n)[:, None] % 10
    return records


def test_cifar10_binary(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    parts = [cifar_records(4, 1, i) for i in range(5)]
    for i, part in enumerate(parts):
        (folder / f"data_batch_{i + 1}.bin").write_bytes(part.tobytes())
    (folder / "test_batch.bin").write_bytes(cifar_records(3, 1).tobytes())
    train, test = D.CIFAR10(tmp_path), D.CIFAR10(tmp_path, train=False, transform=T.ToTensor())
    expected = np.concatenate(parts)
    assert len(train) == 20 and len(test) == 3 and train.targets == [0, 1, 2, 3] * 5
    np.testing.assert_array_equal(train.data, expected[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(train[5][0].numpy(), expected[5, 1:].reshape(3, 32, 32))
    assert test[2][0].shape == (3, 32, 32) and test[2][0].max() <= 1 and test.classes[3] == "cat"
    assert train.tensors()[7][1] == 3
    (folder / "data_batch_3.bin").write_bytes(parts[2].tobytes()[:-1])
    with pytest.raises(ValueError, match="data_batch_3.bin: expected a whole number of records of 3073 bytes, found 12291"):
        D.CIFAR10(tmp_path)
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(FileNotFoundError, match="no file 'data_batch_3.bin'.*cifar-10-binary.tar.gz"):
        D.CIFAR10(tmp_path)
    with pytest.raises(RuntimeError, match="downloads nothing: unpack cifar-10-binary.tar.gz.*into root"):
        D.CIFAR10(tmp_path, download=True)


def test_cifar100_binary(tmp_path):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    records = cifar_records(6, 2)
    records[:, 1] = 90 + np.arange(6)  # fine, after coarse
    (folder / "train.bin").write_bytes(records.tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"name{i}" for i in range(100)))
    data = D.CIFAR100(tmp_path)
    assert data.targets == list(range(90, 96)) and data.classes[95] == "name95"


def python2_pickle(value):
    """As CIFAR's python version was pickled: protocol 2, text as byte strings, numpy's old module names."""
    return pickle.dumps(value, protocol=2).replace(b"numpy._core.", b"numpy.core.")


@pytest.mark.parametrize("keys", ["bytes", "text"])
def test_cifar_python_version(tmp_path, keys):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    records = cifar_records(4, 1)
    batch = {"data": records[:, 1:].copy(), "labels": records[:, 0].tolist(), "filenames": ["a.png"] * 4}
    if keys == "bytes":
        batch = {k.encode(): v for k, v in batch.items()}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(python2_pickle(batch))
    data = D.CIFAR10(tmp_path, train=False)
    assert data.targets == [0, 1, 2, 3]
    np.testing.assert_array_equal(data[1][0].numpy(), records[1, 1:].reshape(3, 32, 32))
    for protocol in (0, 1, 2, 3, 4, 5):
        (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=protocol))
        if protocol == 5:
            with pytest.raises(ValueError, match="the global numpy._core.numeric._frombuffer|opcode|which plain data"):
                D.CIFAR10(tmp_path, train=False)
        else:
            np.testing.assert_array_equal(D.CIFAR10(tmp_path, train=False).data, data.data)


def test_cifar_pickle_as_python_2_wrote_it(tmp_path):
    """The opcodes of the published files: byte strings for keys and data, numpy's array in its state."""
    raw = cifar_records(2, 1)[:, 1:].tobytes()
    array = (b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02M\x00\x0c"
             b"\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
             + struct.pack("<I", len(raw)) + raw + b"tb")
    (tmp_path / "batch").write_bytes(b"\x80\x02}q\x01(U\x0bbatch_labelU\x15training batch 1 of 5U\x06labels]q\x02(K\x06K\x09e"
                                     b"U\x04data" + array + b"U\tfilenames](U\x05a.pngU\x05b.pngeu.")
    images, labels = D.read_cifar_pickle(tmp_path / "batch")
    assert images.numpy().tobytes() == raw and labels.tolist() == [[6], [9]]


class Bomb:
    def __reduce__(self):
        return (open, ("/tmp/fireseed-must-not-exist", "w"))


@pytest.mark.parametrize("value", [Bomb(), {"data": Bomb()}, {"data": np.array([Bomb()])}, [1], 3,
                                   {"data": np.zeros((2, 3072)), "labels": [0, 1]},
                                   {"data": np.zeros((2, 3071), np.uint8), "labels": [0, 1]},
                                   {"data": np.zeros((2, 3072), np.uint8), "labels": [0]},
                                   {"data": np.zeros((2, 3072), np.uint8), "labels": [0, "1"]},
                                   {"data": np.zeros((2, 3072), np.uint8), "labels": [0, -1]},
                                   {"data": np.zeros((2, 3072), np.uint8)}])
def test_cifar_pickles_run_nothing_and_are_checked(tmp_path, value):
    (tmp_path / "batch").write_bytes(pickle.dumps(value, protocol=2))
    with pytest.raises(ValueError, match="batch: expected"):
        D.read_cifar_pickle(tmp_path / "batch")
    import os
    assert not os.path.exists("/tmp/fireseed-must-not-exist")


def test_pickles_of_endless_depth_or_size_are_only_errors(tmp_path):
    deep = b"\x80\x02}" + b")" + b"\x85" * 200000
    for data in (deep + b"K\x01s.", deep + b"0.", b"\x80\x02X\xff\xff\xff\x7f", b"\x80\x05\x96" + b"\xff" * 7 + b"\x00",
                 b"\x80\x02}r\xff\xff\xff\xffK\x01K\x02s.", b"\x80\x02c__builtin__\neval\n.", b"\x80\x02B\xff\xff\xff\xff"):
        (tmp_path / "x").write_bytes(data)
        tracemalloc.start()
        with pytest.raises(ValueError, match="x: expected"):
            D.read_cifar_pickle(tmp_path / "x")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6e7


# --- Digits ---

def test_digits():
    pytest.importorskip("sklearn")
    data = D.Digits(transform=T.ToTensor())
    x, y = data[0]
    assert len(data) == 1797 and x.shape == (1, 8, 8) and x.dtype == fs.float32 and y == 0
    from sklearn.datasets import load_digits
    np.testing.assert_array_equal(data.data.numpy() * 16, load_digits().images)
    assert len(data.tensors()) == 1797


def test_optional_packages_name_their_extra(monkeypatch, tmp_path):
    import sys
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"Digits needs scikit-learn: pip install 'fireseed\[examples\]'"):
        D.Digits()
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"1")
    with pytest.raises(ImportError, match=r"reading images needs Pillow: pip install 'fireseed\[data\]'"):
        D.ImageFolder(tmp_path)[0]


# --- folders ---

def test_image_folder(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, files in (("cat", ["b.png", "a.PNG", "notes.txt"]), ("dog", ["deep/c.bmp"])):
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.endswith("txt"):
                path.write_text("not an image")
            else:
                Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(path)
    data = D.ImageFolder(tmp_path, transform=T.ToTensor())
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert [p.rsplit("/", 1)[1] for p, _ in data.samples] == ["a.PNG", "b.png", "c.bmp"] and data.targets == [0, 0, 1]
    x, y = data[2]
    assert x.shape == (3, 6, 5) and y == 1
    np.testing.assert_array_equal((x * 255).round().numpy().transpose(1, 2, 0),
                                  np.array(Image.open(tmp_path / "dog/deep/c.bmp")))
    assert D.ImageFolder(tmp_path)[0][0].mode == "RGB"
    assert len(D.ImageFolder(tmp_path, is_valid_file=lambda p: p.endswith("b.png"), allow_empty=True)) == 1
    (tmp_path / "bird").mkdir()
    with pytest.raises(FileNotFoundError, match="Found no valid file for the classes bird.*Supported extensions are"):
        D.ImageFolder(tmp_path)
    assert len(D.ImageFolder(tmp_path, allow_empty=True)) == 3
    with pytest.raises(FileNotFoundError, match="Couldn't find any class folder"):
        D.ImageFolder(tmp_path / "bird")
    with pytest.raises(FileNotFoundError):
        D.ImageFolder(tmp_path / "nowhere")


def test_damaged_images_are_named(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    path = tmp_path / "a" / "x.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for data, found in ((whole[:-1000], "OSError|SyntaxError|ValueError"), (b"", "an empty file"), (b"text", "Unidentified")):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"x.png: expected an image.*({found})"):
            D.ImageFolder(tmp_path)[0]
    huge = bytearray(whole)
    huge[16:24] = struct.pack(">II", 11000, 11000)  # the size in IHDR; Pillow itself would only warn
    import zlib
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    path.write_bytes(huge)
    with pytest.raises(ValueError, match="at most 100000000 pixels.*found one of 11000 x 11000"):
        D.ImageFolder(tmp_path)[0]


def test_audio_folder(tmp_path):
    write_pcm(tmp_path / "bark" / "1.wav", np.zeros((100, 1), np.int16), 8000)
    (wave_form, rate), target = D.AudioFolder(tmp_path)[0]
    assert wave_form.shape == (1, 100) and rate == 8000 and target == 0


# --- WAV ---

def write_pcm(path, samples, rate):
    """samples (frames, channels): uint8, int16, int32, or 24-bit numbers in int64."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width = {"uint8": 1, "int16": 2, "int32": 4, "int64": 3}[str(samples.dtype)]
    raw = b"".join(int(v).to_bytes(3, "little", signed=True) for v in samples.ravel()) if width == 3 else samples.tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)


def float_wav(samples, extensible=False, extra=b"", length=None):
    """The bytes of a float WAV; extensible: with the long fmt chunk."""
    bits = samples.dtype.itemsize * 8
    channels = samples.shape[1]
    head = struct.pack("<HHIIHH", 0xFFFE if extensible else 3, channels, 16000, 16000 * channels * bits // 8,
                       channels * bits // 8, bits)
    if extensible:
        head += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", 3) + bytes.fromhex("000000001000800000aa00389b71")
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(head)) + head + extra
    body += b"data" + struct.pack("<I", samples.nbytes if length is None else length) + samples.tobytes()
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("dtype, bits", [("uint8", 8), ("int16", 16), ("int64", 24), ("int32", 32)])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_integers(tmp_path, dtype, bits, channels):
    low, high = (0, 256) if bits == 8 else (-(2**(bits - 1)), 2**(bits - 1))
    samples = np.random.default_rng(0).integers(low, high, (50, channels), dtype=dtype)
    samples[0], samples[1] = low, high - 1
    write_pcm(tmp_path / "x.wav", samples, 22050)
    raw, rate = D.read_wav(tmp_path / "x.wav", normalize=False)
    assert rate == 22050 and str(raw.dtype).removeprefix("fireseed.") == ("int32" if bits == 24 else dtype)
    np.testing.assert_array_equal(raw.numpy(), samples.T)
    x, _ = D.read_wav(str(tmp_path / "x.wav"))
    expected = (samples.T.astype(np.float64) - (128 if bits == 8 else 0)) / 2.0**(bits - 1)
    assert x.dtype == fs.float32 and x.shape == (channels, 50)
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-7)
    assert D.read_wav(tmp_path / "x.wav", channels_first=False)[0].shape == (50, channels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("extensible", [False, True])
def test_wav_floats(tmp_path, dtype, extensible):
    samples = np.random.default_rng(0).standard_normal((30, 2)).astype(dtype)
    extra = b"LIST" + struct.pack("<I", 5) + b"12345\0"  # a chunk of odd length is padded
    (tmp_path / "x.wav").write_bytes(float_wav(samples, extensible, extra))
    x, rate = D.read_wav(tmp_path / "x.wav")
    assert rate == 16000 and x.dtype == fs.float32
    np.testing.assert_array_equal(x.numpy(), samples.T.astype(np.float32))
    assert str(D.read_wav(tmp_path / "x.wav", normalize=False)[0].dtype) == f"fireseed.{dtype}"
    (tmp_path / "x.wav").write_bytes(float_wav(samples, length=0xFFFFFFFF) + b"\0")  # written to a pipe
    assert D.read_wav(tmp_path / "x.wav")[0].shape == (2, 30)


@pytest.mark.parametrize("data, message", [
    (b"", "a RIFF header of type WAVE, found an empty file"),
    (b"ID3\x03 an mp3 file", "a RIFF header of type WAVE, found 49 44 33"),
    (b"RIFF\0\0\0\0WAVE", "a fmt chunk, found the end of the file"),
    (float_wav(np.zeros((4, 1), np.float32))[:-3], "16 bytes of sound, found 13"),
    (float_wav(np.zeros((4, 1), np.float32), length=15), "whole frames of 4 bytes, found 15"),
    (float_wav(np.zeros((4, 1), np.float32), length=2**31), "2147483648 bytes of sound, found 16"),
    (float_wav(np.zeros((4, 1), np.float32)).replace(b"\x03\0\x01\0", b"\x55\0\x01\0"), "found format 85 of 32 bits"),
    (float_wav(np.zeros((4, 1), np.float32)).replace(b"\x03\0\x01\0", b"\x03\0\0\0"), "found 0 channels"),
    (float_wav(np.zeros((4, 1), np.float32)).replace(b"fmt ", b"LIST"), "a fmt chunk before the data chunk"),
])
def test_wav_damage_is_named(tmp_path, data, message):
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(ValueError) as info:
        D.read_wav(tmp_path / "x.wav")
    assert "x.wav: expected" in str(info.value) and message in str(info.value)
