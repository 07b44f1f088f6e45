"""save and load: what goes in comes out; files are whole or absent; errors are clear."""

import io
import math
import os
import threading
from collections import OrderedDict

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn


def roundtrip(obj, **kwargs):
    file = io.BytesIO()
    fs.save(obj, file)
    file.seek(0)
    return fs.load(file, **kwargs)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
)
def test_dtypes(dtype):
    t = fs.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(fs, dtype))
    for value in (t, t.t(), t[0, 1], t[:0]):
        back = roundtrip({"x": value})["x"]
        assert back.dtype == value.dtype and back.shape == value.shape and back.tolist() == value.tolist()


def test_state_dict(tmp_path):
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    path = tmp_path / "net.safetensors"
    fs.save(net.state_dict(), path, metadata={"epoch": 3})
    state = fs.load(path)
    assert (
        list(state) == list(net.state_dict())
        and isinstance(state, OrderedDict)
        and state._metadata["1"] == {"version": 2}
    )
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    other.load_state_dict(state)
    assert fs.equal(net[0].weight, other[0].weight)
    from fireseed.serialization import load_metadata

    assert load_metadata(path) == {"epoch": "3"}
    from safetensors.numpy import load_file

    plain = load_file(path)  # any safetensors reader finds the tensors under their names
    assert sorted(plain) == sorted(state) and (plain["0.weight"] == net[0].weight.detach().numpy()).all()


def test_structures():
    shared = fs.arange(3)
    obj = {
        "a": [1, 2.5, None, True, "x", b"\x00\xff"],
        ("t", 1): (shared, {"deep": shared}),
        3: fs.float16,
        "s": fs.zeros(2, 3).shape,
        "nan": math.nan,
        "inf": -math.inf,
        "set": {1, 2},
        "device": fs.device("cpu"),
        "np": np.arange(4),
        "p": nn.Parameter(fs.ones(1)),
    }
    back = roundtrip(obj)
    assert back["a"] == obj["a"] and back[3] == fs.float16 and back["s"] == (2, 3) and back["set"] == {1, 2}
    assert math.isnan(back["nan"]) and back["inf"] == -math.inf and str(back["device"]) == "cpu"
    assert back[("t", 1)][0] is back[("t", 1)][1]["deep"] and back["np"].tolist() == [0, 1, 2, 3]
    assert isinstance(back["p"], nn.Parameter) and back["p"].requires_grad
    assert roundtrip(fs.zeros(2)).tolist() == [0, 0] and roundtrip([]) == [] and roundtrip(7) == 7


def test_optimizer_state():
    net = nn.Linear(2, 2)
    opt = fs.optim.Adam(net.parameters(), lr=0.1)
    net(fs.ones(1, 2)).sum().backward()
    opt.step()
    other = fs.optim.Adam(net.parameters(), lr=0.2)
    other.load_state_dict(roundtrip(opt.state_dict(), weights_only=True))
    assert other.param_groups[0]["lr"] == 0.1
    assert roundtrip({"o": opt.state_dict()}, map_location="cpu")["o"]["param_groups"][0]["betas"] in (
        (0.9, 0.999),
        [0.9, 0.999],
    )


def test_foreign_file(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": np.eye(2, dtype=np.float32)}, tmp_path / "x")
    assert fs.load(tmp_path / "x")["w"].tolist() == [[1, 0], [0, 1]]


def test_atomic(tmp_path, monkeypatch):
    path = tmp_path / "m"
    fs.save({"x": fs.zeros(1)}, path)

    def broken(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        fs.save({"x": fs.ones(1)}, path)
    monkeypatch.undo()
    assert fs.load(path)["x"].item() == 0 and os.listdir(tmp_path) == ["m"]


def test_threads_save_to_one_path(tmp_path):
    """The file is that of one of them, whole, and nothing else is left."""
    failed = []

    def saves(i):
        try:
            for _ in range(10):
                fs.save({"i": i, "x": fs.full((1000,), float(i))}, tmp_path / "m")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=saves, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = fs.load(tmp_path / "m")
    assert not failed and (state["x"] == state["i"]).all() and os.listdir(tmp_path) == ["m"]


def test_errors(tmp_path):
    with pytest.raises(TypeError, match=r"cannot save a Linear \(at net\); save its state_dict\(\) instead"):
        fs.save({"net": nn.Linear(1, 1)}, tmp_path / "x")
    with pytest.raises(TypeError, match=r"cannot save a function \(at f\)"):
        fs.save({"f": test_errors}, tmp_path / "x")
    assert os.listdir(tmp_path) == []
    with pytest.raises(FileNotFoundError):
        fs.load(tmp_path / "none")
    good = io.BytesIO()
    fs.save({"x": fs.zeros(100)}, good)
    for data in (
        b"",
        b"short",
        good.getvalue()[:50],
        good.getvalue()[:-10],
        b"\xff" * 64,
        b"\x08\0\0\0\0\0\0\0notjson!",
    ):
        with pytest.raises(fs.serialization.DamagedFileError, match="the file object: (not a safetensors file or )?damaged"):
            fs.load(io.BytesIO(data))
    with pytest.raises(TypeError, match="unexpected keyword"):
        fs.load(good, colour=3)


def test_shared_memory_stays_shared():
    """Tied weights are stored once and are one memory again, in as many tensors as there were."""
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    file = io.BytesIO()
    fs.save(net.state_dict(), file)
    assert len(file.getvalue()) < 36 * 2 + 700
    file.seek(0)
    state = fs.load(file)
    a, b = state["0.weight"], state["1.weight"]
    assert a is not b and a.data_ptr() == b.data_ptr() and a.tolist() == net[0].weight.tolist()
    x = fs.ones(2)
    pair = roundtrip([nn.Parameter(x), x, x])
    assert isinstance(pair[0], nn.Parameter) and not pair[1].requires_grad and pair[1] is pair[2]
    assert pair[0].data_ptr() == pair[1].data_ptr()


def test_version_1_files():
    """Files without checksums, as fireseed 0.1 wrote them."""
    import json

    tree = {"d": [["w", {"t": "w", "g": False}], ["n", 3]], "o": False}
    header = json.dumps({
        "__metadata__": {"fireseed": json.dumps({"version": 1, "tree": tree})},
        "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    }).encode()
    data = len(header).to_bytes(8, "little") + header + np.float32([1, 2]).tobytes()
    back = fs.load(io.BytesIO(data))
    assert back["w"].tolist() == [1, 2] and back["n"] == 3
    newer = data.replace(b'\\"version\\": 1', b'\\"version\\": 9')
    with pytest.raises(NotImplementedError, match="written by a newer fireseed"):
        fs.load(io.BytesIO(newer))


def test_every_bit_is_checked():
    """Any one bit flipped anywhere in the file is noticed."""
    file = io.BytesIO()
    fs.save({"w": fs.arange(3), "n": 12}, file)
    good = file.getvalue()
    start = int.from_bytes(good[:8], "little") + 8
    blanks = range(len(good[:start].rstrip(b" ")), start)  # the padding says nothing
    for at in range(len(good)):
        if at in blanks:
            continue
        bad = bytearray(good)
        bad[at] ^= 1 << at % 8
        with pytest.raises((fs.serialization.DamagedFileError, NotImplementedError)):
            fs.load(io.BytesIO(bad))


def test_streams():
    """Several objects in one file; a pipe; other kinds of files; text mode."""
    file = io.BytesIO(b"head")
    file.seek(4)
    fs.save({"a": fs.ones(2)}, file)
    fs.save([1], file)
    file.seek(4)
    assert fs.load(file)["a"].tolist() == [1, 1] and fs.load(file) == [1]
    read, write = os.pipe()
    with os.fdopen(write, "wb") as out:
        fs.save({"a": fs.ones(2)}, out)
    with os.fdopen(read, "rb") as source:
        assert fs.load(source)["a"].tolist() == [1, 1]
    fs.save([1], os.devnull)
    with pytest.raises(TypeError, match='text mode; open it with mode "wb"'):
        fs.save([1], io.StringIO())
    with pytest.raises(TypeError, match='text mode; open it with mode "rb"'):
        fs.load(io.StringIO())
    with pytest.raises(TypeError, match="the second argument, to be a path or a file opened for writing"):
        fs.save([1], 3)
    with pytest.raises(TypeError, match="expected a path or a file opened for"):
        fs.load(None)


def test_paths(tmp_path):
    os.mkdir(tmp_path / "real")
    os.symlink(tmp_path / "real" / "x", tmp_path / "link")
    for path in (str(tmp_path / "real" / "x"), os.fsencode(tmp_path / "real" / "x"), tmp_path / "link"):
        fs.save([7], path)
        assert fs.load(path) == [7]
    assert os.path.islink(tmp_path / "link") and os.listdir(tmp_path / "real") == ["x"]
    os.chmod(tmp_path / "real" / "x", 0o640)
    fs.save([7], tmp_path / "link")
    assert os.stat(tmp_path / "real" / "x").st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError, match="the folder does not exist"):
        fs.save([1], tmp_path / "none" / "x")
    with pytest.raises(IsADirectoryError):
        fs.load(tmp_path)
    with open(tmp_path / "real" / "x", "ab") as out:
        out.write(b"more")
    with pytest.raises(fs.serialization.DamagedFileError, match="real/x: damaged: 4 bytes after the last tensor"):
        fs.load(tmp_path / "real" / "x")


def test_numpy_and_foreign_dtypes(tmp_path):
    from safetensors.numpy import save_file

    back = roundtrip({"u": np.arange(3, dtype=np.uint32), "s": np.array(["ab", "c"]), "n": np.float64(2.5), "c": 1 - 2j})
    assert back["u"].dtype == np.uint32 and back["u"].tolist() == [0, 1, 2] and back["s"].tolist() == ["ab", "c"]
    assert back["n"] == 2.5 and back["c"] == 1 - 2j
    with pytest.raises(TypeError, match="numpy array at o has dtype object"):
        roundtrip({"o": np.array([None])})
    save_file({"ok": np.ones(1, np.float32), "u": np.ones(1, np.uint16)}, tmp_path / "u.safetensors")
    with pytest.raises(NotImplementedError, match="u.safetensors: u has dtype U16"):
        fs.load(tmp_path / "u.safetensors")


def test_too_deep_or_endless():
    loop = []
    loop.append(loop)
    for kind in ("safetensors", None):
        with pytest.raises(ValueError, match="nested too deeply, or contains itself"):
            fs.save(loop, io.BytesIO(), format=kind)
    file = io.BytesIO()
    fs.save(loop, file, format="torch")  # a pickle can say it
    file.seek(0)
    back = fs.load(file)
    assert back[0] is back
