"""PyTorch's files without PyTorch: fixtures, devices, mapping, whole modules, and hostile files."""

import io
import os
import pickle
import struct
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict

import fireseed as fs
import pytest
from fireseed import nn
from fireseed.serialization import (
    DamagedFileError,
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)

DATA = os.path.join(os.path.dirname(__file__), "data")


def archive(pickled, byteorder=b"little", **records):
    """A zip file as PyTorch writes it, around a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("archive/data.pkl", pickled)
        out.writestr("archive/byteorder", byteorder)
        for name, data in records.items():
            out.writestr(f"archive/data/{name.lstrip('_')}", data)
    file.seek(0)
    return file


def tensor_pickle(numel, size, stride=(1,), offset=0, location="cpu", storage="FloatStorage", key="0"):
    """The pickle of one tensor."""
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()  # noqa: E731
    number = lambda n: b"\x8a\x09" + n.to_bytes(9, "little", signed=True)  # noqa: E731
    many = lambda values: b"(" + b"".join(map(number, values)) + b"t"  # noqa: E731
    return (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + f"ctorch\n{storage}\n".encode() + text(key)
            + text(location) + number(numel) + b"tQ" + number(offset) + many(size) + many(stride)
            + b"\x89ccollections\nOrderedDict\n)RtR.")


@pytest.mark.parametrize("name", ["checkpoint_zip.pt", "checkpoint_legacy.pt"])
def test_fixtures(name):
    path = os.path.join(DATA, name)
    state = fs.load(path)
    assert list(state["model"])[:2] == ["0.weight", "0.bias"] and state["model"]._metadata["1"] == {"version": 2}
    assert state["epoch"] == 3 and state["best"] == 0.75 and state["scalar"].item() == 2.5 and state["empty"].shape == (0, 3)
    assert isinstance(state["parameter"], nn.Parameter) and state["parameter"].requires_grad
    x, turned, part = state["views"]
    assert turned.stride() == (1, 4) and part.tolist() == [[4, 6], [8, 10]]
    x[1, 2] = -1
    assert turned[2, 1].item() == -1 and part[0, 1].item() == -1
    kinds = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    for kind, t in zip(kinds, state["dtypes"]):
        assert t.dtype == getattr(fs, kind) and t.tolist() == ([0, 1, 2] if kind != "bool" else [False, True, True])
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = fs.optim.Adam(net.parameters())
    net.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    assert optimizer.param_groups[0]["lr"] == 0.01
    net(fs.ones(2, 2)).sum().backward()
    optimizer.step()
    with open(path, "rb") as file:
        assert fs.load(file)["epoch"] == 3


def test_whole_module():
    path = os.path.join(DATA, "module.pt")
    with pytest.raises(pickle.UnpicklingError, match="the top is a whole module.*torch.nn.*Sequential.*weights_only=False"):
        fs.load(path)
    net = fs.load(path, weights_only=False)
    assert type(net) is nn.Sequential and type(net[0]) is nn.Linear and net(fs.ones(1, 2)).shape == (1, 2)


class Net(nn.Module):
    """A module of a user's."""

    def __init__(self, n):
        super().__init__()
        self.inner, self.act, self.sizes = nn.Linear(n, n), nn.functional.relu, [1, (2, 3)]
        self.tied = self.inner.weight
        self.register_buffer("count", fs.zeros(()), persistent=False)

    def forward(self, x):
        return self.act(self.inner(x))


def test_own_modules(tmp_path):
    net = Net(3).eval()
    fs.save(net, tmp_path / "net.pt")
    with pytest.raises(pickle.UnpicklingError, match="weights_only=False"):
        fs.load(tmp_path / "net.pt")
    back = fs.load(tmp_path / "net.pt", weights_only=False)
    assert type(back) is Net and back.act is nn.functional.relu and back.sizes == [1, (2, 3)] and not back.training
    assert back.tied is back.inner.weight and isinstance(back.tied, nn.Parameter) and len(list(back.parameters())) == 2
    assert back(fs.ones(2, 3)).tolist() == net(fs.ones(2, 3)).tolist()
    with pytest.raises(TypeError, match="an_act|function.*at act"):
        net.act = lambda x: x
        fs.save(net, tmp_path / "net.pt")

    class Local(nn.Module):
        pass

    with pytest.raises(TypeError, match="local to a function"):
        fs.save(Local(), tmp_path / "net.pt")
    with pytest.raises(TypeError, match='cannot save a Net .at model.; save its state_dict.. instead, or use format="torch"'):
        fs.save({"model": Net(1)}, tmp_path / "x.pt")


class Settings:
    """A class that is no module."""

    def __init__(self):
        self.lr = 0.5


def test_other_classes_need_leave():
    data = pickle.dumps({"settings": Settings()}, 2)
    with pytest.raises(pickle.UnpicklingError, match=r"settings is a .*Settings, which is not data.*add_safe_globals\(\[Settings\]\)"):
        fs.load(archive(data), weights_only=False)
    with pytest.raises(pickle.UnpicklingError):
        fs.load(archive(pickle.dumps(Settings(), 4)))

    with safe_globals([Settings]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            name = f"c{Settings.__module__}\nSettings\n".encode()
            made = fs.load(archive(b"\x80\x02" + name + b")\x81}X\x02\0\0\0lrG" + struct.pack(">d", 0.25) + b"sb."))
    assert isinstance(made, Settings) and made.lr == 0.25 and get_safe_globals() == []
    add_safe_globals([(Settings, "elsewhere.Config")])
    assert isinstance(fs.load(archive(b"\x80\x02celsewhere\nConfig\n)R.")), Settings)
    clear_safe_globals()


def test_plain_values():
    args = Namespace(lr=0.1, layers=[1, 2])
    assert fs.load(archive(pickle.dumps({"args": args}, 2)))["args"] == args
    file = io.BytesIO()
    fs.save({"args": args}, file)
    file.seek(0)
    assert fs.load(file)["args"] == args
    for protocol in range(6):
        obj = {"a": [1, -2, 2**40, 1.5, None, True], "b": b"\0\xff", "t": ((), (1,), (1, 2, 3, 4)), "s": "é\n'", "f": False,
               "e": {1, 2}, "z": frozenset((3,)), "o": OrderedDict(x=1), "y": bytearray(b"ab")}
        assert fs.load(archive(pickle.dumps(obj, protocol))) == obj
    python2 = b"(dp0\nS'name'\np1\nS'caf\\xc3\\xa9'\np2\nsS'n'\nI5\ns."
    assert fs.load(archive(python2)) == {"name": "café", "n": 5}
    assert fs.load(archive(python2), encoding="bytes") == {b"name": b"caf\xc3\xa9", b"n": 5}


def test_map_location():
    data = struct.pack("<2f", 1, 2)
    file = archive(tensor_pickle(2, (2,), location="cuda:3"), _0=data)
    seen = []

    def load(map_location):
        file.seek(0)
        return fs.load(file, map_location)

    if not fs.cuda.is_available():
        assert load(None).device.type == "cpu"
        for where in ("cuda", 0, lambda storage, loc: storage.cuda()):
            with pytest.raises(RuntimeError, match="CUDA is not available") as caught:
                load(where)
            assert not isinstance(caught.value, DamagedFileError)  # the file is in order
    for where in ("cpu", fs.device("cpu"), {"cuda:3": "cpu"}, lambda storage, loc: seen.append((storage.nbytes(), loc)),
                  lambda storage, loc: storage, lambda storage, loc: storage.cpu()):
        assert load(where).tolist() == [1, 2]
    assert seen == [(8, "cuda:3")]
    with pytest.raises(TypeError, match="map_location must be"):
        load([1])
    with pytest.raises(ZeroDivisionError):
        load(lambda storage, loc: 1 / 0)


def test_byte_order():
    file = archive(tensor_pickle(2, (2,)), byteorder=b"big", _0=struct.pack(">2f", 1.5, -2))
    assert fs.load(file).tolist() == [1.5, -2]
    with pytest.raises(DamagedFileError, match="byte order"):
        fs.load(archive(tensor_pickle(2, (2,)), byteorder=b"middle", _0=bytes(8)))


def test_bool_bytes_are_made_zero_or_one():
    t = fs.load(archive(tensor_pickle(3, (3,), storage="BoolStorage"), _0=b"\0\x02\xff"))
    assert t.tolist() == [False, True, True] and t.sum().item() == 2


def test_mmap(tmp_path):
    state = {"w": fs.arange(6.0).view(2, 3), "e": fs.empty(0)}
    fs.save(state, tmp_path / "a", format="torch")
    fs.save(state, tmp_path / "b")
    for name in "ab":
        back = fs.load(tmp_path / name, mmap=True)
        assert back["w"].tolist() == state["w"].tolist() and back["e"].shape == (0,)
        back["w"].zero_()  # private: the file stays
        assert fs.load(tmp_path / name)["w"].tolist() == state["w"].tolist()
    with pytest.raises(ValueError, match="needs the path of a file"), open(tmp_path / "b", "rb") as file:
        fs.load(file, mmap=True)
    with pytest.raises(RuntimeError, match="zip format"):
        fs.load(os.path.join(DATA, "checkpoint_legacy.pt"), mmap=True)


EVIL = [
    (b"cos\nsystem\n(S'touch ran'\ntR.", "os.system"), (b"c__builtin__\neval\n(S'open(\"ran\", \"w\")'\ntR.", "builtins.eval"),
    (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93(\x8c\x11open('ran', 'w')\ntR.".replace(b"\n", b""), "builtins.exec"),
    (b"(S'touch ran'\nios\nsystem\n.", "unknown instruction b'i'"), (b"cfireseed\nload\n(S'x'\ntR.", "fireseed.load"),
    (b"ctorch.nn.functional\nrelu\n(K\1tR.", "torch.nn.functional.relu|call builtin"), (b"csys\nmodules\n.", "sys.modules"),
    (b"cfireseed.nn\nos.system\n.", "os.system"), (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
]


@pytest.mark.parametrize("data,name", EVIL)
@pytest.mark.parametrize("weights_only", [True, False])
def test_no_code_is_run(data, name, weights_only, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    legacy = io.BytesIO(b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {})) + data)
    for file in (archive(data), legacy):
        with pytest.raises((pickle.UnpicklingError, DamagedFileError), match=name):
            fs.load(file, weights_only=weights_only)
    assert os.listdir(tmp_path) == []


HOSTILE = {
    "huge bytes": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b"ab.",
    "huge text": b"\x80\x02X\xff\xff\xff\xffab.", "huge long": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
    "many digits": b"L" + b"9" * 10000 + b"L\n.", "deep key": b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\1s.",
    "deep item": b"\x80\x04\x8f(" + b")" + b"\x85" * 200_000 + b"\x90.",
    "unfolding": b"\x80\x02X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\0" + b"c_codecs\nencode\nq\1"
                 + b"h\1h\0\x85R" * 1000 + b".", "empty stack": b"\x80\x02.", "no mark": b"\x80\x02t.", "loop": b"\x80\x02]q\0h\0h\0s.",
    "unhashable": b"\x80\x02}]K\1s.", "bad build": b"\x80\x02]K\1b.", "protocol": b"\x80\x09N.", "nothing": b"",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pickles(data):
    with pytest.raises(DamagedFileError, match="the file object: damaged"):
        fs.load(archive(data))


def test_memo_is_no_table():
    """An index of 2^31 in a pickle costs one entry, not a table."""
    assert fs.load(archive(b"\x80\x02]r\xff\xff\xff\x7f0j\xff\xff\xff\x7f.")) == []


@pytest.mark.parametrize("numel,size,stride,offset", [
    (2, (3,), (1,), 0), (2, (2,), (2,), 0), (2, (2,), (1,), 1), (2, (-1,), (1,), 0), (2, (2,), (-1,), 1), (2, (2, 1), (1,), 0),
    (2**61, (2,), (1,), 0), (-2, (2,), (1,), 0), (2, (2**62,), (0,), 0), (2, (2,), (2**62,), 0), (2, (1,), (1,), 2**61), (3, (2,), (1,), 0),
])
def test_tensors_outside_their_storage(numel, size, stride, offset):
    with pytest.raises(DamagedFileError):
        fs.load(archive(tensor_pickle(numel, size, stride, offset), _0=bytes(8)))


def test_damaged_archives():
    good = archive(tensor_pickle(2, (2,)), _0=bytes(8)).getvalue()
    assert fs.load(io.BytesIO(good)).tolist() == [0, 0]
    for at in (good.index(b"PK\1\2") + 20, good.index(b"_rebuild"), good.index(b"data/0") + 8):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises((DamagedFileError, pickle.UnpicklingError)):
            fs.load(io.BytesIO(bad))
    with pytest.raises(DamagedFileError, match="not a whole zip archive"):
        fs.load(io.BytesIO(good[:-30]))
    with pytest.raises(DamagedFileError, match="data/0 is missing"):
        fs.load(archive(tensor_pickle(2, (2,))))
    squeezed = io.BytesIO()
    with zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("archive/data.pkl", tensor_pickle(2, (2,)))
    squeezed.seek(0)
    with pytest.raises(DamagedFileError, match="zip -0"):
        fs.load(squeezed)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as out:
        out.writestr("readme.txt", "hello")
    other.seek(0)
    with pytest.raises(DamagedFileError, match="data.pkl is missing"):
        fs.load(other)
    with pytest.raises(DamagedFileError, match="magic number is missing"):
        fs.load(io.BytesIO(pickle.dumps({"x": 1}, 2)))
    tar = bytearray(1024)
    tar[257:262] = b"ustar"
    with pytest.raises(NotImplementedError, match="tar file"):
        fs.load(io.BytesIO(tar))


def test_legacy_storages_are_bounded(tmp_path):
    head = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {}))
    with pytest.raises(DamagedFileError, match="storages of"):
        fs.load(io.BytesIO(head + tensor_pickle(2**50, (2,))[:].replace(b"tQ", b"NtQ") + pickle.dumps(["0"], 2)))
    good = head + tensor_pickle(2, (2,)).replace(b"tQ", b"NtQ") + pickle.dumps(["0"], 2) + struct.pack("<Q2f", 2, 3, 4)
    assert fs.load(io.BytesIO(good)).tolist() == [3, 4]
    for bad in (good[:-1], good[:-9], good[:-16] + struct.pack("<Q2f", 3, 3, 4)):
        with pytest.raises(DamagedFileError, match="the file object"):
            fs.load(io.BytesIO(bad))
    two = io.BytesIO(good + good)  # one after the other in a stream
    assert fs.load(two).tolist() == [3, 4] and fs.load(two).tolist() == [3, 4]


def test_format_argument(tmp_path):
    with pytest.raises(ValueError, match='format must be "safetensors" or "torch"'):
        fs.save({}, tmp_path / "x", format="pickle")
    with pytest.raises(ValueError, match="metadata go into safetensors"):
        fs.save({}, tmp_path / "x", format="torch", metadata={"a": "b"})
    with pytest.raises(TypeError, match=r"cannot save a function \(at a.0\)"):
        fs.save({"a": [test_mmap]}, tmp_path / "x", format="torch")
    assert os.listdir(tmp_path) == []
    x = fs.arange(4.0)
    x.note = "kept"
    fs.save({"x": x, "half": x[2:], "p": nn.Parameter(x)}, tmp_path / "x", format="torch")
    back = fs.load(tmp_path / "x")
    assert back["x"].note == "kept" and back["half"].storage_offset() == 2
    back["p"].data[2] = 9
    assert back["half"][0].item() == 9


class Scored(nn.Module):
    """A module whose __init__ needs arguments, with a function among its attributes."""

    def __init__(self, width, activation):
        super().__init__()
        self.linear, self.activation = nn.Linear(3, width), activation

    def forward(self, x):
        return self.activation(self.linear(x))


def test_a_whole_module_that_safe_globals_name(tmp_path):
    net = Scored(2, nn.functional.relu)
    fs.save(net, tmp_path / "net.pt")
    with pytest.raises(pickle.UnpicklingError, match="whole module"):
        fs.load(tmp_path / "net.pt")
    with safe_globals([Scored, nn.modules.linear.Linear, nn.functional.relu]):
        back = fs.load(tmp_path / "net.pt")
    x = fs.ones(1, 3)
    assert type(back) is Scored and back(x).equal(net(x)) and back.activation is nn.functional.relu
    with safe_globals([Scored]), pytest.raises(pickle.UnpicklingError, match="Linear"):
        fs.load(tmp_path / "net.pt")
