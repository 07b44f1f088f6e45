# Square brackets, read and write, against numpy: ints, slices, None, Ellipsis, tensors, masks, lists.
import numpy as np
import pytest
from finite_difference import check_first_order, check_second_order
from under_test import IS_FIRESEED, lib, raises_with, to_numpy

BASE = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
I = np.array  # noqa: E741
KEYS = {
    "int": 1,
    "negative": -1,
    "ints": (0, 2),
    "all ints": (1, 2, 3, 4),
    "slice": slice(0, 1),
    "step": (slice(None), slice(None, None, 2)),
    "open": slice(None),
    "beyond": slice(0, 99),
    "empty": slice(1, 1),
    "negative slice": (0, slice(-2, None)),
    "none": None,
    "none inside": (0, None, slice(None), None),
    "ellipsis": (Ellipsis, 0),
    "ellipsis middle": (1, Ellipsis, 2),
    "ellipsis alone": Ellipsis,
    "ellipsis of nothing": (0, 1, Ellipsis, 2, 3),
    "mixed": (1, slice(1, 3), None, Ellipsis, slice(0, 5, 3)),
    "list": [1, 0],
    "list inside": (slice(None), [0, 2, 2]),
    "tensor": I([1, 0, 1]),
    "tensor 2d": (slice(None), I([[0, 1], [2, 0]])),
    "two tensors": (I([0, 1]), I([2, 0])),
    "broadcast tensors": (I([[0], [1]]), I([0, 2])),
    "separated tensors": (I([0, 1]), slice(None), I([3, 0])),
    "separated by none": (I([0, 1]), None, I([2, 1])),
    "tensor after slice": (slice(None), slice(1, 3), I([3, 1])),
    "int between tensors": (I([0, 1]), 1, I([3, 2])),
    "negative tensor": I([-1, -2]),
    "0-dim tensor": np.array(1),
    "empty tensor": I([], dtype=np.int64),
    "mask": BASE > 50,
    "row mask": I([True, False]),
    "inner mask": (slice(None), I([True, False, True])),
    "mask of two": np.arange(6).reshape(2, 3) % 2 == 0,
    "mask and tensor": (I([True, True]), I([2, 0])),
    "mask none": I([False, False]),
    "ellipsis tensor": (Ellipsis, I([4, 0])),
    "true": True,
    "false": False,
    "list of bools": [True, False],
    "all tensors": (I([0, 1]), I([0, 1]), I([0, 1]), I([0, 1])),
    "steps": (slice(None), slice(0, 3, 2), slice(1, None, 2), slice(None, None, 4)),
    "int32": np.array([1, 0], np.int32),
    "uint8 step": (slice(None), slice(2, 0, 1)),
}


def ours(key):
    """The key with numpy arrays turned into tensors."""
    if isinstance(key, tuple):
        return tuple(ours(k) for k in key)
    return lib.tensor(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("layout", ["contiguous", "transposed"])
def test_read(name, layout):
    x = lib.tensor(BASE)
    if layout == "transposed":
        x = lib.tensor(np.ascontiguousarray(BASE.T)).permute(3, 2, 1, 0)
    np.testing.assert_array_equal(to_numpy(x[ours(KEYS[name])]), BASE[KEYS[name]])


@pytest.mark.parametrize("name", KEYS)
def test_write(name):
    """A number, a tensor of the full shape and a broadcast row; contiguous and strided destinations."""
    key = KEYS[name]
    shape = BASE[key].shape
    values = -1 - np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    for value in (np.float32(7), values, values[:1] if shape and shape[0] > 1 else values):
        want = BASE.copy()
        want[key] = value
        for strided in (False, True):
            x = lib.tensor(BASE)
            if strided:
                x = lib.tensor(np.ascontiguousarray(BASE.T)).permute(3, 2, 1, 0)
            version = x._version
            x[ours(key)] = float(value) if value.ndim == 0 else lib.tensor(value)
            np.testing.assert_array_equal(to_numpy(x), want, err_msg=f"{name}, strided {strided}")
            assert x._version > version or not values.size


@pytest.mark.parametrize("name", KEYS)
def test_gradient_of_read(name):
    small = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    x = lib.tensor(small, requires_grad=True)
    y = x[ours(KEYS[name])]
    weights = np.random.default_rng(1).normal(size=tuple(y.shape))
    (y * lib.tensor(weights)).sum().backward()
    want = np.zeros_like(small)
    np.add.at(want, KEYS[name], weights)
    np.testing.assert_allclose(to_numpy(x.grad), want, rtol=1e-12)


@pytest.mark.parametrize(
    "name", ["int", "slice", "mixed", "two tensors", "mask", "tensor 2d", "separated tensors"]
)
def test_second_order(name):
    key = ours(KEYS[name])
    arrays = [np.random.default_rng(0).normal(size=(2, 3, 4, 5))]
    check_first_order(lambda x: x[key] ** 2, arrays)


def test_gradient_of_write():
    """x[key] = v: no gradient through the overwritten part of x, all of it through v."""

    def f(x, v):
        y = x * 2
        y[1, ::2] = v * 3
        y[:, lib.tensor([1, 0])] = y[:, lib.tensor([0, 1])] * 1.5
        y[lib.tensor([[True, False, False], [False, False, True]])] = v[0]
        return y**2

    check_first_order(
        f, [np.random.default_rng(0).normal(size=(2, 3)), np.random.default_rng(1).normal(size=(2,))]
    )
    check_second_order(
        f, [np.random.default_rng(0).normal(size=(2, 3)), np.random.default_rng(1).normal(size=(2,))]
    )


def test_reads_are_views_where_numpy_has_views():
    x = lib.zeros(3, 4)
    for key in (0, (slice(None), 1), (Ellipsis, slice(1, 3)), None, (slice(None, None, 2), None)):
        view = x[key]
        assert view.data_ptr() - x.data_ptr() < 48
        x.zero_()
        view.fill_(1)
        assert x.sum().item() == view.numel()
    copy = x[lib.tensor([0])]
    copy.fill_(9)
    assert x.max().item() == 1


def test_ints_are_taken_before_tensors():
    """Unlike numpy, where an int beside tensors counts as one of them: x[0, :, i] is x[0][:, i]."""
    x, i = lib.tensor(BASE), lib.tensor([1, 2])
    np.testing.assert_array_equal(to_numpy(x[0, :, i]), BASE[0][:, [1, 2]])
    x[0, :, i] = 5
    assert (to_numpy(x)[0][:, [1, 2]] == 5).all() and to_numpy(x)[0, 0, 0, 0] == 0


def test_dtypes_of_written_values():
    x = lib.zeros(3, dtype=lib.int64)
    x[0] = 2.9
    x[1] = True
    x[2] = lib.tensor(7.5)
    assert x.tolist() == [2, 1, 7]
    y = lib.zeros(3)
    y[:] = lib.tensor([1, 2, 3])
    y[0] = lib.tensor([5])
    assert y.tolist() == [5, 2, 3] and y.dtype == lib.float32
    b = lib.zeros(2, dtype=lib.bool)
    b[1] = 5
    assert b.tolist() == [False, True]


def test_index_with_0d_and_empty():
    s = lib.tensor(5.0)
    assert (
        s[()].item() == 5
        and s[...].shape == ()
        and s[None].shape == (1,)
        and s[True].shape == (1,)
        and s[lib.tensor(False)].shape == (0,)
    )
    s[()] = 6.0
    s[...] = s + 1
    assert s.item() == 7
    e = lib.zeros(0, 3)
    assert (
        e[:, 0].shape == (0,) and e[lib.zeros(0, dtype=lib.int64)].shape == (0, 3) and e[0:5].shape == (0, 3)
    )


def test_accumulate():
    x = lib.zeros(3)
    x.index_put_((lib.tensor([0, 0, 2, 0]),), lib.tensor([1.0, 2, 3, 4]), accumulate=True)
    assert x.tolist() == [7, 0, 3]
    x[lib.tensor([1, 1])] += 1  # read, add, write: once
    assert x.tolist() == [7, 1, 3]


@pytest.mark.parametrize(
    "key, error, words",
    [
        (2, IndexError, ("2", "0")),
        (-3, IndexError, ("-3",)),
        ((0, 0, 0, 0, 0), IndexError, ("4",)),
        ((0, 3), IndexError, ("3",)),
        ("a", (TypeError, IndexError), ()),
        (1.5, (TypeError, IndexError), ()),
        (I([0, 2]), IndexError, ("2",)),
        (I([True, False, True]), IndexError, ("3", "2")),
        ((I([0, 1]), I([0, 1, 2])), IndexError, ("2", "3")),
        (slice(None, None, -1), ValueError, ("step",)),
        (slice(None, None, 0), ValueError, ()),
        (I([0.5]), IndexError, ()),
        (I([-3]), IndexError, ("-3",)),
        (slice("a", None), (TypeError, IndexError), ()),
    ],
)
def test_bad_keys(key, error, words):
    x = lib.tensor(BASE)
    with raises_with(error, *words):
        x[ours(key)]
    with raises_with(error):
        x[ours(key)] = 1.0
    if IS_FIRESEED:  # PyTorch may have written a part
        np.testing.assert_array_equal(to_numpy(x), BASE)


def test_bad_values():
    x = lib.zeros(3, 4)
    with raises_with(RuntimeError, "4", "3"):
        x[0] = lib.ones(3)
    with pytest.raises(RuntimeError):
        x[lib.tensor([0, 1])] = lib.ones(3, 4)
    with pytest.raises(IndexError):
        lib.tensor(1.0)[0]
    with pytest.raises(TypeError):
        x[0] = "a"
    with pytest.raises((TypeError, RuntimeError, AttributeError)):
        del x[0]
    assert to_numpy(x).sum() == 0


def test_large_masks_and_indices():
    """Chunks and threads."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(500, 401)).astype(np.float32)
    x = lib.tensor(a)
    np.testing.assert_array_equal(to_numpy(x[x > 0]), a[a > 0])
    k = rng.integers(-500, 500, 3000)
    np.testing.assert_array_equal(to_numpy(x[lib.tensor(k)]), a[k])
    x[x < 0] = 0
    np.testing.assert_array_equal(to_numpy(x), np.maximum(a, 0))


def test_unusual_indices():
    x = lib.arange(24).view(2, 3, 4)
    assert x[range(2)].shape == (2, 3, 4) and x[0 : 2**70].shape == (2, 3, 4)
    assert x[[slice(0, 1), 1]].shape == (1, 4) and x[[lib.tensor(1), 0]].shape == (4,)
    assert x[((0, 1), (1, 0))].shape == (2, 4)
    with pytest.raises(TypeError):
        x["a"]
    with pytest.raises((IndexError, ValueError)):
        x[2**70]
