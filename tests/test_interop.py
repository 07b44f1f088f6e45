# Tensors and the rest of Python: numpy without copies, buffer protocol, DLPack, pickle, copy.
import array
import copy
import io
import pickle
import sys
import weakref

import numpy as np
import pytest
from under_test import ALL, FLOAT, IS_FIRESEED, dtype_name, lib, nn, raises_with, tensor, to_numpy

NUMPY = [d for d in ALL if d != "bfloat16"]


@pytest.mark.parametrize("dtype", NUMPY)
def test_from_numpy_shares_memory(dtype):
    a = np.arange(6).reshape(2, 3).astype(dtype)
    x = lib.from_numpy(a)
    assert dtype_name(x) == dtype and x.data_ptr() == a.ctypes.data and x.shape == (2, 3)
    a[0, 0] = 1
    assert x[0, 0].item() == 1
    x[1, 2] = 0
    assert a[1, 2] == 0


@pytest.mark.parametrize("dtype", NUMPY)
def test_numpy_shares_memory(dtype):
    x = lib.ones(2, 3, dtype=getattr(lib, dtype))
    a = x.numpy()
    assert a.dtype == dtype and a.ctypes.data == x.data_ptr()
    a[0, 0] = 0
    assert x[0, 0].item() == 0
    x.fill_(1)
    assert a.all()


def test_numpy_of_views():
    x = lib.arange(24.0).view(2, 3, 4)
    for f in (
        lambda v: v.transpose(0, 2),
        lambda v: v[:, 1::2, ::3],
        lambda v: v[1],
        lambda v: v[0, 0, 0],
        lambda v: v[:, :0],
        lambda v: v.expand(5, 2, 3, 4),
    ):
        y = f(x)
        a = y.numpy()
        assert a.shape == tuple(y.shape) and a.strides == tuple(4 * s for s in y.stride()) or y.numel() == 0
        assert a.tolist() == y.tolist()
    b = np.arange(24.0).reshape(4, 6)
    for view in (b.T, b[1:, ::2], b[2], b[:0]):
        y = lib.from_numpy(view)
        assert y.tolist() == view.tolist()


def test_lifetimes():
    a = np.arange(5.0)
    x = lib.from_numpy(a)
    del a
    assert x.sum().item() == 10
    y = lib.arange(5.0)
    b = y.numpy()
    del y
    lib.zeros(5)
    assert b.sum() == 10
    m = memoryview(lib.arange(3.0)) if IS_FIRESEED else memoryview(lib.arange(3.0).numpy())
    assert m.tolist() == [0, 1, 2]


def test_numpy_refusals():
    x = lib.ones(2, requires_grad=True)
    with raises_with(RuntimeError, "detach"):
        x.numpy()
    with pytest.raises(RuntimeError):
        np.asarray(x)
    with pytest.raises(TypeError):
        lib.ones(2, dtype=lib.bfloat16).numpy()
    for bad in (np.array(["a"]), np.array([object()]), np.array([1j]).astype("complex256")):
        with pytest.raises(TypeError):
            lib.from_numpy(bad)
    with pytest.raises((ValueError, TypeError)):
        lib.from_numpy(np.arange(4)[::-1])  # negative strides
    with pytest.raises(TypeError):
        lib.from_numpy([1, 2])
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        lib.from_numpy(np.arange(3).astype(">f4"))


def test_tensor_copies_numpy():
    a = np.arange(3.0)
    x = lib.tensor(a)
    a[0] = 9
    assert x.tolist() == [0, 1, 2]
    assert lib.tensor(np.arange(4)[::-1].copy()).tolist() == [3, 2, 1, 0]
    assert lib.as_tensor(a).data_ptr() == a.ctypes.data
    assert lib.tensor(np.float64(2.5)).item() == 2.5 and lib.tensor(np.array(3)).shape == ()
    assert lib.tensor([np.array([1.0, 2.0]), np.array([3.0, 4.0])]).tolist() == [[1, 2], [3, 4]]


def test_numpy_functions_take_tensors():
    x = lib.tensor([[1.0, 4.0], [9.0, 16.0]])
    assert np.asarray(x).tolist() == x.tolist() and np.array(x).sum() == 30
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.sqrt(x).tolist() == [[1, 2], [3, 4]]
    assert np.concatenate([x, x]).shape == (4, 2) and np.linspace(0, 1, 3)[lib.tensor(1).item()] == 0.5
    assert (np.float64(2) * lib.tensor(3.0)).item() == 6
    np.testing.assert_allclose(x, x.numpy())


@pytest.mark.skipif(not IS_FIRESEED, reason="PyTorch's tensors have no buffer protocol")
def test_buffer_protocol():
    x = lib.arange(6.0).view(2, 3)
    m = memoryview(x)
    assert m.format == "f" and m.shape == (2, 3) and m.strides == (12, 4) and not m.readonly
    m[0, 0] = 7.0
    assert x[0, 0].item() == 7 and m.tobytes() == x.numpy().tobytes()
    t = memoryview(x.t())
    assert t.shape == (3, 2) and t.strides == (4, 12) and t.tolist() == x.t().tolist()
    assert memoryview(lib.tensor([True, False])).tolist() == [True, False]
    assert bytes(lib.tensor([1, 2], dtype=lib.uint8)) == b"\x01\x02"


def test_frombuffer():
    a = array.array("f", [1, 2, 3])
    x = lib.frombuffer(a, dtype=lib.float32)
    a[0] = 5
    assert x.tolist() == [5, 2, 3]
    assert lib.frombuffer(bytearray(b"\x01\x00\x02\x00\x03\x00"), dtype=lib.int16, offset=2).tolist() == [
        2,
        3,
    ]
    words = lib.frombuffer(bytearray(b"\x09\x01\x00\x02\x00"), dtype=lib.uint8, offset=1)  # its storage begins there
    assert words.view(lib.int16).tolist() == [1, 2] and words.as_strided((2,), (2,)).tolist() == [1, 2]
    assert lib.frombuffer(bytearray(8), dtype=lib.uint8, count=3).tolist() == [0, 0, 0]
    with pytest.raises(ValueError):
        lib.frombuffer(bytearray(3), dtype=lib.float32)


@pytest.mark.parametrize("dtype", NUMPY)
def test_dlpack_to_numpy_and_back(dtype):
    x = lib.ones(2, 3, dtype=getattr(lib, dtype)).t()
    a = np.from_dlpack(x)
    assert a.shape == (3, 2) and a.dtype == dtype and a.ctypes.data == x.data_ptr()
    assert x.__dlpack_device__()[0] == 1
    y = lib.from_dlpack(np.arange(6).reshape(2, 3).astype(dtype))
    assert dtype_name(y) == dtype and y.shape == (2, 3)


def test_dlpack_between_tensors():
    x = lib.arange(6.0).view(2, 3)[:, 1:]
    y = lib.from_dlpack(x)
    assert y.data_ptr() == x.data_ptr() and y.stride() == x.stride() and y.tolist() == x.tolist()
    capsule = x.__dlpack__()
    z = lib.utils.dlpack.from_dlpack(capsule)
    with pytest.raises((RuntimeError, ValueError)):
        (lib.from_dlpack if not IS_FIRESEED else lib.utils.dlpack.from_dlpack)(
            capsule
        )  # a capsule is used once
    del x, y
    assert z.tolist() == [[1, 2], [4, 5]]
    b = lib.ones(2, dtype=lib.bfloat16)
    assert lib.from_dlpack(b).dtype == lib.bfloat16
    with pytest.raises((RuntimeError, BufferError)):
        lib.ones(1, requires_grad=True).__dlpack__()
    del capsule


def test_unused_capsule_frees_memory():
    x = lib.ones(3)
    ref = weakref.ref(x)
    capsule = x.__dlpack__()
    del x
    del capsule
    assert ref() is None


@pytest.mark.parametrize("dtype", ALL)
def test_pickle(dtype):
    x = tensor(np.array([[0, 1, 1], [1, 0, 1]]), dtype)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        y = pickle.loads(pickle.dumps(x, protocol))
        assert (
            y.dtype == x.dtype
            and to_numpy(y).tolist() == to_numpy(x).tolist()
            and y.data_ptr() != x.data_ptr()
        )
    t = pickle.loads(pickle.dumps(x.t()))
    assert t.shape == (3, 2) and to_numpy(t).tolist() == to_numpy(x.t()).tolist()
    assert pickle.loads(pickle.dumps(x.dtype)) == x.dtype
    if dtype in FLOAT:
        assert pickle.loads(pickle.dumps(x.requires_grad_())).requires_grad
    assert (
        pickle.loads(pickle.dumps(lib.zeros(0, 3))).shape == (0, 3)
        and pickle.loads(pickle.dumps(lib.tensor(2.5))).item() == 2.5
    )


def test_pickle_of_modules_and_device():
    m = nn.Linear(2, 3)
    n = pickle.loads(pickle.dumps(m))
    assert (
        n.weight.tolist() == m.weight.tolist()
        and n.weight.requires_grad
        and isinstance(n.weight, nn.Parameter)
    )
    assert pickle.loads(pickle.dumps(lib.device("cpu"))) == lib.device("cpu")
    assert pickle.loads(pickle.dumps(lib.Size([2, 3]))) == (2, 3)


def test_copy_and_deepcopy():
    x = lib.arange(4.0)
    y = copy.copy(x)
    assert y.data_ptr() == x.data_ptr()
    z = copy.deepcopy(x)
    z[0] = 9
    assert x[0].item() == 0 and z.tolist() == [9, 1, 2, 3]
    p = lib.ones(2, requires_grad=True)
    q = copy.deepcopy(p)
    assert q.requires_grad and q.is_leaf and q.data_ptr() != p.data_ptr()
    with pytest.raises(RuntimeError):
        copy.deepcopy(p * 2)
    m = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    n = copy.deepcopy(m)
    assert n.state_dict().keys() == m.state_dict().keys() and n[0].weight.data_ptr() != m[0].weight.data_ptr()
    shared = [x, x]
    a, b = copy.deepcopy(shared)
    assert a is b
    view = copy.deepcopy({"base": x, "view": x[1:]})
    assert view["view"].tolist() == [1, 2, 3]


def test_save_and_load(tmp_path):
    m = nn.Linear(3, 2)
    path = tmp_path / "m.pt"
    lib.save(m.state_dict(), path)
    state = lib.load(path)
    n = nn.Linear(3, 2)
    n.load_state_dict(state)
    assert n.weight.tolist() == m.weight.tolist()
    f = io.BytesIO()
    lib.save({"a": lib.ones(2)}, f)
    f.seek(0)
    assert lib.load(f)["a"].tolist() == [1, 1]


def test_attributes_weakrefs_subclass():
    x = lib.ones(2)
    x.note = "kept"
    assert x.note == "kept"
    ref = weakref.ref(x)
    del x
    assert ref() is None

    class Mine(lib.Tensor):
        pass

    y = lib.ones(2).as_subclass(Mine) if hasattr(lib.Tensor, "as_subclass") else None
    assert y is None or isinstance(y, Mine)
    assert isinstance(nn.Parameter(lib.ones(2)), lib.Tensor)


def test_identity_through_autograd():
    """The same tensor comes back as the same Python object."""
    x = lib.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad is x.grad
    g = x.grad
    g.note = 1
    assert x.grad.note == 1
    m = nn.Linear(1, 1)
    assert m.weight is m.weight and next(m.parameters()) is m.weight


def test_reference_counts():
    x = lib.ones(2)
    before = sys.getrefcount(x)
    for _ in range(100):
        x + x, x.sum(), x[0], x.view(2, 1), lib.cat([x, x]), x.add_(0)
        try:
            x + lib.ones(3)
        except RuntimeError:
            pass
    assert sys.getrefcount(x) == before


def test_arithmetic_with_numpy_gives_tensors():
    x, a = lib.ones(2), np.full(2, 2.0)
    for result, dtype in [(x + a, "float64"), (x * a.astype(np.float32), "float32"), (np.float64(2) * x, "float32"),
                          (np.int64(2) / x, "float32"), (x == a, "bool"), (np.sqrt(x), "float32"),
                          (x - np.float32(1), "float32"), (2.5 + x, "float32")]:
        assert isinstance(result, lib.Tensor) and result.dtype == getattr(lib, dtype), result
    w = lib.ones(2, requires_grad=True)
    (np.float64(3) * w).sum().backward()
    assert w.grad.tolist() == [3, 3]
    x *= a
    assert isinstance(x, lib.Tensor) and x.tolist() == [2, 2]
    with pytest.raises(TypeError):
        x + [1, 2]


def test_copies_and_pickles_share_what_the_originals_share():
    x = lib.arange(6)
    for same in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o)))[: 2 if IS_FIRESEED else 1]:
        a, b = same((x, x[1:]))
        a[1] = 99
        assert b[0] == 99 and x[1] == 1
        assert same(lib.arange(6)[::2]).stride() == (2,)
    module = nn.Linear(2, 2)
    module.register_buffer("all", lib.zeros(4))
    module.register_buffer("part", module.all[:2])
    twin = copy.deepcopy(module)
    twin.all.fill_(7)
    assert twin.part.tolist() == [7, 7] and module.part.tolist() == [0, 0]


def test_copies_keep_attributes():
    x = lib.ones(2)
    x.note = ["kept"]
    assert copy.copy(x).note is x.note
    for same in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))):
        assert same(x).note == ["kept"] and same(x).note is not x.note
    p = nn.Parameter(lib.ones(2))
    p.note = 3
    assert pickle.loads(pickle.dumps(p)).note == 3
