"""Files between PyTorch and fireseed, both ways: every dtype, views, parameters, optimizers, whole modules."""

import io
import os
import zipfile
from collections import Counter, OrderedDict

import fireseed as fs
import numpy as np
import pytest

torch = pytest.importorskip("torch")

DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
DATA = os.path.join(os.path.dirname(__file__), "data")


def to_fireseed(obj, old=False, **kwargs):
    file = io.BytesIO()
    torch.save(obj, file, _use_new_zipfile_serialization=not old)
    file.seek(0)
    return fs.load(file, **kwargs)


def to_torch(obj, weights_only=True):
    file = io.BytesIO()
    fs.save(obj, file, format="torch")
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


def tensors(lib, name):
    """Layouts of one dtype: dense, transposed, strided, expanded, 0-dim, empty."""
    x = lib.tensor([[0, 1, 2, 3], [1, 0, 5, 6], [7, 1, 0, 9]]).to(getattr(lib, name))
    return [x, x.t(), x[1:, ::2], x[:1].expand(3, 4), x[1, 2], x[:0], x.clone()[2], lib.zeros((), dtype=x.dtype)]


def same(a, b):
    """Equal values, types, dtypes, shapes and strides, in nested containers."""
    if hasattr(a, "dtype") and hasattr(a, "stride"):
        assert str(a.dtype).rpartition(".")[2] == str(b.dtype).rpartition(".")[2]
        assert tuple(a.shape) == tuple(b.shape) and a.stride() == b.stride() and a.requires_grad == b.requires_grad
        assert a.storage_offset() == b.storage_offset()
        assert type(a).__name__ == type(b).__name__
        x, y = a.tolist(), b.tolist()
        assert x == y or str(x) == str(y)  # NaN
    elif isinstance(a, dict):
        assert list(a) == list(b) and isinstance(b, OrderedDict) == isinstance(a, OrderedDict)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (list, tuple)) and not type(a).__name__ == "Size":
        assert isinstance(b, type(a)) and len(a) == len(b)
        for x, y in zip(a, b):
            same(x, y)
    else:
        assert type(a).__name__ == type(b).__name__ and (a == b or str(a).rpartition(".")[2] == str(b).rpartition(".")[2])


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", DTYPES)
def test_read_dtypes_and_layouts(name, old):
    theirs = tensors(torch, name)
    ours = to_fireseed(theirs, old)
    same(theirs, ours)
    ours[0][1, 2] = 0  # one memory: all views see it
    theirs[0][1, 2] = 0
    same(theirs, ours)


@pytest.mark.parametrize("name", DTYPES)
def test_write_dtypes_and_layouts(name):
    ours = tensors(fs, name)
    theirs = to_torch(ours)
    same(ours, theirs)
    ours[0][1, 2] = theirs[0][1, 2] = 0
    same(ours, theirs)


def values(lib):
    x = lib.tensor([1.5, float("nan"), float("-inf")], requires_grad=True)
    return {
        "numbers": [0, 1, -1, 255, 256, 65536, -(2**31), 2**31, 2**70, -(2**63), 1.5, float("inf"), True, False, None],
        "text": ["", "é불씨", "a" * 300], "bytes": b"\x00\xff\x80", "tuple": (1, (2, ()), [3]), 5: {"deep": {(1, "k"): 2}},
        "set": {1, 2}, "dtype": lib.bfloat16, "device": lib.device("cpu"), "size": lib.zeros(2, 3).shape,
        "ordered": OrderedDict(b=1, a=x), "grad": x, "parameter": lib.nn.Parameter(lib.ones(2), requires_grad=False),
        "twice": [x, x], "complex": complex(1, -2), "empty": [{}, [], (), OrderedDict()],
    }


@pytest.mark.parametrize("old", [False, True])
def test_read_values(old):
    same(values(torch), to_fireseed(values(torch), old))
    theirs = to_fireseed({"counter": Counter("aab"), "np": np.arange(6).reshape(2, 3).T, "scalar": np.float32(1.5),
                          "u": np.uint16(7), "s": np.array(["ab", "c"])}, old)
    assert theirs["counter"] == Counter("aab") and (theirs["np"] == np.arange(6).reshape(2, 3).T).all()
    assert theirs["scalar"] == np.float32(1.5) and theirs["u"] == 7 and theirs["s"].tolist() == ["ab", "c"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_read_protocols(protocol):
    file = io.BytesIO()
    torch.save(values(torch), file, pickle_protocol=protocol)
    file.seek(0)
    same(values(torch), fs.load(file))


def test_write_values():
    same(values(fs), to_torch(values(fs)))
    shared = [1]
    back = to_torch({"a": shared, "b": shared, "x": fs.zeros(1)})
    assert back["a"] is back["b"]
    arrays = to_torch({"a": np.arange(6.0).reshape(2, 3).T, "n": np.float64(2.5)}, weights_only=False)
    assert (arrays["a"] == np.arange(6.0).reshape(2, 3).T).all() and arrays["n"] == 2.5


def test_archive_layout(tmp_path):
    """The records are PyTorch's, stored, their data at multiples of 64 bytes."""
    state = {"w": fs.arange(5), "e": fs.empty(0), "h": fs.ones(3, dtype=fs.float16)}
    fs.save(state, tmp_path / "ours.pt", format="torch")
    torch.save({k: torch.tensor(v.tolist()) for k, v in state.items()}, tmp_path / "theirs.pt")
    ours, theirs = zipfile.ZipFile(tmp_path / "ours.pt"), zipfile.ZipFile(tmp_path / "theirs.pt")
    root = {"ours": "archive", "theirs": theirs.namelist()[0].split("/")[0]}
    assert [n.removeprefix(root["ours"]) for n in ours.namelist()] == [n.removeprefix(root["theirs"]) for n in theirs.namelist()]
    for name in ("version", "byteorder", ".format_version", ".storage_alignment"):
        assert ours.read(f"archive/{name}") == theirs.read(f"{root['theirs']}/{name}")
    data = (tmp_path / "ours.pt").read_bytes()
    for info in ours.infolist():
        extra = int.from_bytes(data[info.header_offset + 28:info.header_offset + 30], "little")
        assert info.compress_type == 0 and (info.header_offset + 30 + len(info.filename) + extra) % 64 == 0
    assert ours.testzip() is None
    mapped = torch.load(tmp_path / "ours.pt", mmap=True)
    assert mapped["w"].tolist() == [0, 1, 2, 3, 4]


def net(lib):
    return lib.nn.Sequential(
        lib.nn.Conv2d(2, 3, 3), lib.nn.BatchNorm2d(3), lib.nn.Flatten(), lib.nn.Linear(12, 4), lib.nn.LayerNorm(4))


def trained(lib, name, **options):
    lib.manual_seed(0)
    model = net(lib)
    parameters = [p for p in model.parameters() if p.dim() == 2] if name == "Muon" else model.parameters()
    optimizer = getattr(lib.optim, name)(parameters, **options)
    for _ in range(2):
        optimizer.zero_grad()

        def closure():
            optimizer.zero_grad()
            loss = model(lib.ones(2, 2, 4, 4)).square().mean()
            loss.backward()
            return loss

        closure()
        optimizer.step(closure) if name == "LBFGS" else optimizer.step()
    return model, optimizer


OPTIMIZERS = [("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"amsgrad": True}), ("AdamW", {}), ("Adamax", {}),
              ("NAdam", {}), ("RAdam", {}), ("Adagrad", {}), ("Adadelta", {}), ("RMSprop", {"centered": True}),
              ("Rprop", {}), ("ASGD", {}), ("LBFGS", {"max_iter": 3}), ("Adafactor", {}), ("Muon", {})]


@pytest.mark.parametrize("name,options", OPTIMIZERS, ids=[name for name, _ in OPTIMIZERS])
def test_optimizer_states(name, options):
    """PyTorch's file continues in fireseed, fireseed's in PyTorch."""
    for source, target, carry in ((fs, torch, to_torch), (torch, fs, to_fireseed)):
        model, optimizer = trained(source, name, **options)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
        moved = carry(state)
        assert moved["epoch"] == 3
        same(dict(state["model"]), dict(moved["model"]))
        other, second = trained(target, name, **options)
        other.load_state_dict(moved["model"])
        second.load_state_dict(moved["optimizer"])
        assert list(moved["optimizer"]["state"]) == list(state["optimizer"]["state"])
        for mine, theirs in zip(second.param_groups, optimizer.param_groups):
            assert mine["lr"] == theirs["lr"]
        for key, entry in state["optimizer"]["state"].items():
            same(entry, moved["optimizer"]["state"][key])


def test_every_optimizer_is_written():
    """torch.load(weights_only=True) reads the state of each of fireseed's optimizers, its own ones too."""
    names = [n for n, kind in vars(fs.optim).items() if isinstance(kind, type) and issubclass(kind, fs.optim.Optimizer)
             and n not in ("Optimizer", "SparseAdam")]
    assert len(names) >= 14
    for name in names:
        model, optimizer = trained(fs, name, **dict(OPTIMIZERS).get(name, {}))
        back = to_torch(optimizer.state_dict())
        assert list(back) == ["state", "param_groups"] and list(back["state"]) == list(optimizer.state_dict()["state"])


@pytest.mark.parametrize("name", ["StepLR", "CosineAnnealingLR", "OneCycleLR", "ReduceLROnPlateau", "LambdaLR"])
def test_scheduler_states(name):
    options = {"StepLR": {"step_size": 2}, "CosineAnnealingLR": {"T_max": 5}, "LambdaLR": {"lr_lambda": lambda e: 0.9**e},
               "OneCycleLR": {"max_lr": 0.1, "total_steps": 20}, "ReduceLROnPlateau": {}}[name]

    def make(lib):
        optimizer = lib.optim.SGD([lib.nn.Parameter(lib.ones(1))], lr=0.5)
        return getattr(lib.optim.lr_scheduler, name)(optimizer, **options)

    for source, carry, target in ((torch, to_fireseed, fs), (fs, to_torch, torch)):
        scheduler = make(source)
        scheduler.optimizer.step()
        scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
        other = make(target)
        other.load_state_dict(carry(scheduler.state_dict()))
        assert other.last_epoch == scheduler.last_epoch


def test_read_without_checksums():
    torch.serialization.set_crc32_options(False)
    try:
        assert to_fireseed({"x": torch.ones(3)})["x"].tolist() == [1, 1, 1]
    finally:
        torch.serialization.set_crc32_options(True)


UNSUPPORTED = [
    (lambda: torch.ones(2, dtype=torch.complex64), "a complex tensor"),
    (lambda: torch.eye(2).to_sparse(), "a sparse tensor"), (lambda: torch.eye(2).to_sparse_csr(), "a sparse tensor"),
    (lambda: torch.ones(2).to(torch.float8_e4m3fn), "a tensor of 8-bit floats"),
    (lambda: torch.ones(2).to(torch.uint16), "a tensor of a dtype"),
    (lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "a nested tensor"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make,kind", UNSUPPORTED)
def test_unsupported_kinds_are_named(make, kind):
    for obj, path in (({"model": OrderedDict(a=torch.ones(1), w=make())}, "model.w"), ([1, make()], "1")):
        with pytest.raises(NotImplementedError, match=f"the file object: {path} is {kind}"):
            to_fireseed(obj)


@pytest.mark.filterwarnings("ignore")
def test_quantised_is_named():
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)
    with pytest.raises(NotImplementedError, match="q is a quantised tensor"):
        to_fireseed({"q": quantised})


@pytest.mark.parametrize("old", [False, True])
def test_whole_modules_of_pytorch(old):
    """torch.save(model): the layers become fireseed's; with weights_only=True, the default, an error says what to do."""
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.GELU(), torch.nn.LSTM(8, 4),
                                 torch.nn.TransformerEncoderLayer(4, 2, 8)).eval()
    with pytest.raises(__import__("pickle").UnpicklingError, match="weights_only=False"):
        to_fireseed(theirs, old)
    ours = to_fireseed(theirs, old, weights_only=False)
    x = torch.randn(5, 3)
    out, mine = theirs[:2](x), ours[:2](fs.tensor(x.tolist()))
    assert np.allclose(mine.tolist(), out.tolist(), atol=1e-6) and not ours.training
    assert np.allclose(ours[2](mine)[0].tolist(), theirs[2](out)[0].tolist(), atol=1e-6)
    z = torch.randn(6, 1, 4)
    assert np.allclose(ours[3](fs.tensor(z.tolist())).tolist(), theirs[3](z).tolist(), atol=1e-5)
    ours.load_state_dict(ours.state_dict())
    optimizer = fs.optim.SGD(ours.parameters(), lr=0.1)
    ours[:2](fs.ones(1, 3)).sum().backward()
    optimizer.step()


def test_whole_module_of_fireseed_is_no_weights_file_for_torch(tmp_path):
    fs.save(net(fs), tmp_path / "m.pt")
    with pytest.raises(__import__("pickle").UnpicklingError, match="fireseed"):
        torch.load(tmp_path / "m.pt", weights_only=True)


def test_script_module_is_refused(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1, 1)), str(tmp_path / "s.pt"))
    with pytest.raises(NotImplementedError, match="TorchScript archive"):
        fs.load(tmp_path / "s.pt")


def fixture():
    """What the files in tests/data hold, written by torch.save (make_fixtures)."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.ones(2, 2)).sum().backward()
    optimizer.step()
    x = torch.arange(12, dtype=torch.float32).view(3, 4)
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "views": [x, x.t(), x[1:, ::2]],
            "dtypes": [torch.tensor([0, 1, 2]).to(getattr(torch, name)) for name in DTYPES], "scalar": torch.tensor(2.5),
            "empty": torch.empty(0, 3), "parameter": torch.nn.Parameter(torch.ones(2)), "best": np.float64(0.75)}


def make_fixtures():
    torch.save(fixture(), os.path.join(DATA, "checkpoint_zip.pt"))
    torch.save(fixture(), os.path.join(DATA, "checkpoint_legacy.pt"), _use_new_zipfile_serialization=False)
    torch.manual_seed(0)
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), os.path.join(DATA, "module.pt"))


@pytest.mark.parametrize("name", ["checkpoint_zip.pt", "checkpoint_legacy.pt"])
def test_fixtures(name):
    path = os.path.join(DATA, name)
    same(torch.load(path, weights_only=False), fs.load(path))
