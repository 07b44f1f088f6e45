"""save and load: what goes in comes out; files are whole or absent; errors are clear."""

import io
import math
import os
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
