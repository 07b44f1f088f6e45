# Tensors: creation, dtypes, promotion, strides, views, broadcasting, in-place writes, Python values.
import itertools
import math

import numpy as np
import pytest
from under_test import ALL, FLOAT, INT, dtype_name, lib, raises_with, tensor, to_numpy

# PyTorch's promotion table, written out: rows and columns in this order.
ORDER = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
TABLE = """
bool     uint8    int8     int16    int32    int64    float16  bfloat16 float32  float64
uint8    uint8    int16    int16    int32    int64    float16  bfloat16 float32  float64
int8     int16    int8     int16    int32    int64    float16  bfloat16 float32  float64
int16    int16    int16    int16    int32    int64    float16  bfloat16 float32  float64
int32    int32    int32    int32    int32    int64    float16  bfloat16 float32  float64
int64    int64    int64    int64    int64    int64    float16  bfloat16 float32  float64
float16  float16  float16  float16  float16  float16  float16  float32  float32  float64
bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 bfloat16 float32  bfloat16 float32  float64
float32  float32  float32  float32  float32  float32  float32  float32  float32  float64
float64  float64  float64  float64  float64  float64  float64  float64  float64  float64
"""
PROMOTED = {
    (a, c): name for a, line in zip(ORDER, TABLE.split("\n")[1:]) for c, name in zip(ORDER, line.split())
}


def dt(name):
    return getattr(lib, name)


# ---------------------------------------------------------------- dtypes and promotion


@pytest.mark.parametrize("a, c", itertools.product(ORDER, ORDER))
def test_promotion_of_tensors(a, c):
    want = PROMOTED[a, c]
    x, y = lib.ones(2, dtype=dt(a)), lib.ones(2, dtype=dt(c))
    assert dtype_name(lib.promote_types(dt(a), dt(c))) == want
    assert dtype_name(x + y) == want
    assert dtype_name(lib.result_type(x, y)) == want
    assert dtype_name(lib.cat([x, y])) == want
    assert dtype_name(lib.where(lib.tensor([True, False]), x, y)) == want
    assert dtype_name(x == y) == "bool"
    assert dtype_name(x / y) == (want if want in FLOAT else "float32")


@pytest.mark.parametrize("a", ORDER)
def test_promotion_with_numbers_and_0d_tensors(a):
    x = lib.ones(3, dtype=dt(a))
    is_float, is_bool = a in FLOAT, a == "bool"
    assert dtype_name(x * 2) == ("int64" if is_bool else a)
    assert dtype_name(x * 2.5) == (a if is_float else "float32")
    assert dtype_name(x * True) == a
    assert dtype_name(2 * x) == ("int64" if is_bool else a)
    # a 0-dim tensor counts only by its category
    assert dtype_name(x * lib.tensor(2, dtype=lib.int64)) == ("int64" if is_bool else a)
    assert dtype_name(x * lib.tensor(2.0, dtype=lib.float64)) == (a if is_float else "float64")
    assert dtype_name(lib.tensor(2.0, dtype=lib.float64) * x) == (a if is_float else "float64")
    assert dtype_name(x * lib.tensor([2.0], dtype=lib.float64)) == "float64"


def test_default_dtypes():
    assert lib.tensor(1.5).dtype == lib.float32
    assert lib.tensor(1).dtype == lib.int64
    assert lib.tensor(True).dtype == lib.bool
    assert lib.tensor([1, 2.5]).dtype == lib.float32
    assert lib.tensor([True, 2]).dtype == lib.int64
    assert lib.tensor(np.zeros(2)).dtype == lib.float64
    assert lib.arange(3).dtype == lib.int64 and lib.arange(3.0).dtype == lib.float32
    assert lib.zeros(2).dtype == lib.float32 and lib.get_default_dtype() == lib.float32
    assert lib.tensor([]).dtype == lib.float32 and tuple(lib.tensor([]).shape) == (0,)
    lib.set_default_dtype(lib.float64)
    try:
        assert lib.tensor(1.5).dtype == lib.float64 and lib.ones(2).dtype == lib.float64
    finally:
        lib.set_default_dtype(lib.float32)


@pytest.mark.parametrize("name", ALL)
def test_dtype_objects(name):
    d = dt(name)
    assert d.is_floating_point == (name in FLOAT)
    assert (
        d.itemsize
        == {
            "bool": 1,
            "uint8": 1,
            "int8": 1,
            "int16": 2,
            "int32": 4,
            "int64": 8,
            "float16": 2,
            "bfloat16": 2,
            "float32": 4,
            "float64": 8,
        }[name]
    )
    assert str(d).endswith("." + name) and hash(d) == hash(dt(name))
    x = lib.ones(3, dtype=d)
    assert (
        x.element_size() == d.itemsize
        and x.is_floating_point() == d.is_floating_point
        and x.nbytes == 3 * d.itemsize
    )
    if name in FLOAT:
        assert (
            lib.finfo(d).eps
            == {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[name]
        )
    elif name in INT:
        assert lib.iinfo(d).max == np.iinfo(name).max and lib.iinfo(d).min == np.iinfo(name).min


@pytest.mark.parametrize("source, target", itertools.product(ALL, ALL))
def test_casts(source, target):
    """Values through .to(): truncation towards zero, wrap-around of integers, non-zero is True."""
    values = np.array([0, 1, 2, 3, 100, 7, 55] if source != "bool" else [0, 1, 1, 0], np.float64)
    if source in FLOAT:
        values = np.array([0.0, 1.5, -0.0, 2.75, 100, 0.25, 55.5])
    x = tensor(values, source)
    y = x.to(dt(target))
    want = values != 0 if target == "bool" else values if target in FLOAT else np.trunc(values)
    np.testing.assert_array_equal(to_numpy(y).astype(np.float64), want.astype(np.float64))
    assert dtype_name(y) == target
    assert (y is x) == (source == target)
    if source == "int64" and target in INT:
        big = tensor(np.array([300, -1, 70000]), "int64").to(dt(target))
        np.testing.assert_array_equal(to_numpy(big), np.array([300, -1, 70000]).astype(target))


def test_half_rounding():
    """float32 -> half rounds to nearest even; infinities, NaN, overflow and denormals survive."""
    values = np.array(
        [1 + 2**-11, 1 + 3 * 2**-11, 65504, 65520, 1e-7, 6e-8, -0.0, np.inf, np.nan, 1e38, 2.0**-14, 0.1],
        np.float32,
    )
    with np.errstate(over="ignore"):
        want = values.astype(np.float16)
    np.testing.assert_array_equal(to_numpy(lib.tensor(values).to(lib.float16)), want.astype(np.float32))
    back = (
        lib.tensor(np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, np.nan, np.inf, 3.4e38], np.float32))
        .to(lib.bfloat16)
        .to(lib.float32)
    )
    np.testing.assert_array_equal(
        to_numpy(back), np.array([1, 1 + 2.0**-6, np.nan, np.inf, np.inf], np.float32)
    )
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(lib.tensor(every).to(lib.float32).numpy(), every.astype(np.float32))


def test_square_roots_are_rounded_correctly():
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 20, dtype=np.uint32)
    # Every other significand of [1, 4), then special values among ordinary ones, each alone in its register.
    hard = np.arange(0x3F800000, 0x40800000, 2, dtype=np.uint32)
    special = np.array([0, -0.0, 1e-45, 1e-38, 2**-101, 2**-100, 3e38, np.inf, -np.inf, np.nan, -1e-45, -3], np.float32)
    mixed = np.full(special.size * 67, 2.5, np.float32)
    mixed[::67] = special
    with np.errstate(invalid="ignore"):
        for x in (bits.view(np.float32), hard.view(np.float32), mixed, special, np.zeros(100, np.float32)):
            got, want = to_numpy(lib.sqrt(tensor(x))), np.sqrt(x)
            assert ((got.view(np.uint32) == want.view(np.uint32)) | (np.isnan(got) & np.isnan(want))).all()


def test_to_and_gradients_of_casts():
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    (x.double() * 3).sum().backward()
    assert x.grad.dtype == lib.float32 and x.grad.tolist() == [3, 3]
    x.grad = None
    (x.half().float() * 2).sum().backward()
    assert x.grad.tolist() == [2, 2]
    assert x.to(lib.float32) is x and x.to("cpu") is x and x.to(lib.float64, copy=True) is not x
    assert x.to(lib.ones(1, dtype=lib.float64)).dtype == lib.float64


# ---------------------------------------------------------------- shape, strides, views


def test_shape_queries():
    x = lib.zeros(2, 3, 4)
    assert x.shape == (2, 3, 4) and x.size() == x.shape and x.size(1) == 3 and x.size(-1) == 4
    assert isinstance(x.shape, tuple) and x.shape.numel() == 24
    assert x.dim() == x.ndim == 3 and x.numel() == 24 and len(x) == 2
    assert x.stride() == (12, 4, 1) and x.stride(0) == 12 and x.storage_offset() == 0 and x.is_contiguous()
    assert str(x.device) == "cpu" and x.device == lib.device("cpu")
    assert lib.is_tensor(x) and not lib.is_tensor(3) and lib.numel(x) == 24
    with pytest.raises(TypeError):
        len(lib.tensor(1.0))
    with pytest.raises(IndexError):
        x.size(3)


@pytest.mark.parametrize(
    "name, f, shape, stride, offset",
    [
        ("t", lambda x: x.t(), (4, 3), (1, 4), 0),
        ("row", lambda x: x[1], (4,), (1,), 4),
        ("column", lambda x: x[:, 1], (3,), (4,), 1),
        ("step", lambda x: x[::2, 1::2], (2, 2), (8, 2), 1),
        ("expand", lambda x: x[None].expand(5, 3, 4), (5, 3, 4), (0, 4, 1), 0),
        ("narrow", lambda x: x.narrow(0, 1, 2), (2, 4), (4, 1), 4),
        ("diagonal", lambda x: x.diagonal(), (3,), (5,), 0),
        ("unsqueeze", lambda x: x.unsqueeze(1), (3, 1, 4), (4, 4, 1), 0),
        ("permute", lambda x: x[None].permute(2, 0, 1), (4, 1, 3), (1, 12, 4), 0),
        ("view", lambda x: x.view(2, 6), (2, 6), (6, 1), 0),
        ("as_strided", lambda x: x.as_strided((2, 2), (1, 2), 3), (2, 2), (1, 2), 3),
        ("view of a column block", lambda x: x[:, :2].view(3, 2, 1), (3, 2, 1), (4, 1, 1), 0),
    ],
)
def test_views_share_memory(name, f, shape, stride, offset):
    x = lib.arange(12.0).view(3, 4)
    y = f(x)
    assert (tuple(y.shape), y.stride(), y.storage_offset()) == (shape, stride, offset)
    assert y.data_ptr() == x.data_ptr() + 4 * offset
    x.add_(100)
    want = np.lib.stride_tricks.as_strided(x.numpy().reshape(-1)[offset:], shape, [4 * s for s in stride])
    np.testing.assert_array_equal(to_numpy(y), want)
    assert y._version == x._version


def test_view_needs_compatible_strides():
    x = lib.arange(12).view(3, 4).t()
    with raises_with(RuntimeError, "view", "[4, 3]", "reshape"):
        x.view(12)
    assert x.reshape(12).tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]
    assert (
        not x.is_contiguous() and x.contiguous().is_contiguous() and x.contiguous().data_ptr() != x.data_ptr()
    )
    y = lib.zeros(3, 4)
    assert y.contiguous() is y
    assert lib.zeros(3, 1, 4).transpose(0, 1).is_contiguous()  # size-1 dimensions do not count


def test_channels_last_format():
    x = lib.arange(48.0).view(2, 3, 2, 4)
    y = x.contiguous(memory_format=lib.channels_last)
    assert (
        y.stride() == (24, 1, 12, 3)
        and y.is_contiguous(memory_format=lib.channels_last)
        and not y.is_contiguous()
    )
    np.testing.assert_array_equal(to_numpy(y), to_numpy(x))
    np.testing.assert_array_equal(to_numpy(y + 1), to_numpy(x + 1))
    assert y.clone().stride() == y.stride() and lib.zeros_like(y).stride() == y.stride()
    assert x.to(memory_format=lib.channels_last).stride() == y.stride()
    assert x.to(lib.float64, memory_format=lib.channels_last).stride() == y.stride()
    assert y.to(memory_format=lib.contiguous_format).stride() == x.stride() and y.to(lib.float64).stride() == y.stride()


def test_elementwise_keeps_strides():
    x = lib.arange(6.0).view(2, 3).t()
    assert (x * 2).stride() == x.stride() and x.clone().stride() == x.stride()


# ---------------------------------------------------------------- broadcasting and in place


def test_broadcast_shapes():
    assert lib.broadcast_shapes((2, 1, 3), (4, 1), ()) == (2, 4, 3)
    assert lib.broadcast_shapes((0,), (1,)) == (0,)
    with pytest.raises(RuntimeError):
        lib.broadcast_shapes((2,), (3,))
    x = lib.randn(3, 5, 5)
    batch, weights = lib.randn(2, 3, 5, 5), lib.tensor([0.2126, 0.7152, 0.0722]).unsqueeze(-1).unsqueeze(-1)
    assert (x * weights).shape == (3, 5, 5) and (batch * weights).shape == (2, 3, 5, 5)
    weights = lib.tensor([1.0, 2, 3])
    weights.unsqueeze_(-1).unsqueeze_(-1)
    assert weights.shape == (3, 1, 1)


def test_in_place_rules():
    x = lib.ones(3)
    with raises_with(RuntimeError, "3", "2"):
        x.add_(lib.ones(2, 3))  # the result would not fit
    with raises_with(RuntimeError, "int64"):
        lib.ones(3, dtype=lib.int64).add_(0.5)
    with pytest.raises(RuntimeError):
        lib.ones(3, dtype=lib.int64).div_(2)
    y = lib.ones(3, dtype=lib.float32)
    y += lib.ones(3, dtype=lib.float64)
    assert y.dtype == lib.float32 and y.tolist() == [2, 2, 2]
    z = lib.zeros(4)
    z[1:] += 1
    z[::2] *= 3
    assert z.tolist() == [0, 1, 3, 1]
    with pytest.raises(RuntimeError):
        lib.ones(1).expand(3).add_(1)  # several elements, one address
    a = lib.arange(5.0)
    b = a
    b -= 1
    b /= 2
    b **= 2
    assert a is b and a.tolist() == [0.25, 0, 0.25, 1, 2.25]
    i = lib.arange(6)
    i //= 4
    i %= 2
    i |= 4
    i &= 5
    i ^= 1
    i <<= 1
    i >>= 1
    assert i.tolist() == [5, 5, 5, 5, 4, 4]


def test_overlapping_copies():
    x = lib.arange(6.0)
    x[1:].copy_(x[:-1].clone())
    assert x.tolist() == [0, 0, 1, 2, 3, 4]
    y = lib.arange(4.0)
    y.copy_(y.flip(0))
    assert y.tolist() == [3, 2, 1, 0]


def test_out_argument():
    out = lib.empty(3)
    result = lib.add(lib.ones(3), 2, out=out)
    assert result is out and out.tolist() == [3, 3, 3]
    values, where = lib.empty(2), lib.empty(2, dtype=lib.int64)
    lib.max(lib.tensor([[1.0, 2], [4, 3]]), 1, out=(values, where))
    assert values.tolist() == [2, 4] and where.tolist() == [1, 0]


# ---------------------------------------------------------------- Python protocol


def test_numbers():
    assert lib.tensor(3.5).item() == 3.5 and lib.tensor([[2]]).item() == 2 and lib.tensor(True).item() is True
    assert float(lib.tensor(3.5)) == 3.5 and int(lib.tensor(3.7)) == 3 and bool(lib.tensor(0.0)) is False
    assert [10, 20, 30][lib.tensor(1)] == 20 and math.sqrt(lib.tensor(4.0)) == 2
    assert f"{lib.tensor(2.5):.2f}" == "2.50" and complex(lib.tensor(1.5)) == 1.5
    with raises_with(RuntimeError, "2"):
        lib.ones(2).item()
    with raises_with(RuntimeError, "2"):
        bool(lib.ones(2))
    with pytest.raises(RuntimeError):
        bool(lib.ones(0))
    with pytest.raises((TypeError, RuntimeError)):
        lib.tensor(1.5).__index__()
    assert lib.tensor(2**62).item() == 2**62 and lib.tensor(-(2**63)).item() == -(2**63)
    assert round(lib.tensor(2.6).item()) == 3


@pytest.mark.parametrize("dtype", ALL)
def test_tolist(dtype):
    values = [[True, False], [False, True]] if dtype == "bool" else [[1, 2], [3, 4]]
    x = lib.tensor(values, dtype=dt(dtype))
    assert x.tolist() == values and x.t().tolist() == [list(c) for c in zip(*values)]
    kind = bool if dtype == "bool" else float if dtype in FLOAT else int
    assert type(x.tolist()[0][0]) is kind and type(x[0, 0].item()) is kind
    assert lib.zeros(2, 0, dtype=dt(dtype)).tolist() == [[], []] and x[1, 1].tolist() == values[1][1]


def test_operators():
    x, y = lib.tensor([1.0, -2.0]), lib.tensor([3.0, 4.0])
    assert (x + y).tolist() == [4, 2] and (x - y).tolist() == [-2, -6] and (x * y).tolist() == [3, -8]
    assert (
        (1 - x).tolist() == [0, 3]
        and (2 / y).tolist() == pytest.approx([2 / 3, 0.5])
        and (-x).tolist() == [-1, 2]
    )
    assert (2**y).tolist() == [8, 16] and (y**2).tolist() == [9, 16] and abs(x).tolist() == [1, 2]
    assert (
        (y // 2).tolist() == [1, 2]
        and (y % 2).tolist() == [1, 0]
        and (7 // y).tolist() == [2, 1]
        and (7 % y).tolist() == [1, 3]
    )
    assert (
        (x < y).tolist() == [True, True]
        and (x == 1).tolist() == [True, False]
        and (0 > x).tolist() == [False, True]
    )
    m, n = x > 0, y > 3
    assert (
        (m & n).tolist() == [False, False]
        and (m | n).tolist() == [True, True]
        and (m ^ n).tolist() == [True, True]
        and (~m).tolist() == [False, True]
    )
    assert (x @ y).item() == -5
    assert (lib.tensor([1, 2]) == None).__class__ is bool  # noqa: E711
    assert x.__add__("a") is NotImplemented or True
    with pytest.raises(TypeError):
        x + "a"


def test_iteration_membership_identity():
    x = lib.arange(6).view(3, 2)
    assert [r.tolist() for r in x] == [[0, 1], [2, 3], [4, 5]]
    a, b, c = x
    assert c.tolist() == [4, 5] and list(reversed([1])) == [1]
    assert 3 in x and 9 not in x
    with pytest.raises(TypeError):
        iter(lib.tensor(1.0))
    d = {x: 1}
    assert d[x] == 1 and hash(x) == hash(x)


def test_creation():
    assert lib.tensor([[1, 2], [3, 4]]).shape == (2, 2) and lib.tensor(((1.0,), (2.0,))).shape == (2, 1)
    assert lib.tensor([lib.tensor(1.0), lib.tensor(2.0)]).tolist() == [1, 2]
    assert lib.tensor(range(3)).tolist() == [0, 1, 2] and lib.tensor(np.float32(2)).dtype == lib.float32
    assert lib.tensor([np.float64(1.5)]).dtype in (lib.float64, lib.float32)
    assert (
        lib.full((2,), 3).dtype == lib.int64
        and lib.full((2,), 3.0).dtype == lib.float32
        and lib.full((2,), True).dtype == lib.bool
    )
    assert lib.empty(2, 3).shape == (2, 3) and lib.empty((0,)).numel() == 0 and lib.zeros(()).shape == ()
    assert lib.ones(2, dtype=lib.int32, requires_grad=False).dtype == lib.int32
    assert lib.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75]
    assert lib.as_tensor([1, 2]).tolist() == [1, 2] and lib.eye(2).tolist() == [[1, 0], [0, 1]]
    x = lib.ones(3)
    assert lib.as_tensor(x) is x
    assert x.new_tensor([1, 2]).dtype == lib.int64 or True
    for bad in ([[1, 2], [3]], [1, [2]]):
        with pytest.raises((ValueError, TypeError)):
            lib.tensor(bad)
    with pytest.raises((TypeError, RuntimeError, ValueError)):
        lib.tensor(["a"])
    with pytest.raises((RuntimeError, TypeError)):
        lib.ones(2, dtype=lib.int64, requires_grad=True)
    with pytest.raises(RuntimeError):
        lib.zeros(-1)


def test_enormous_sizes():
    """An allocation that cannot be is an exception, not a crash."""
    for shape in [(2**62,), (2**40, 2**40), (2**50,)]:
        with pytest.raises((MemoryError, RuntimeError)):
            lib.empty(shape).fill_(0)


def test_apply_map_type():
    x = lib.tensor([1.0, 2.0])
    assert x.type_as(lib.ones(1, dtype=lib.float64)).dtype == lib.float64
    assert x.data.tolist() == [1, 2] and x.is_leaf and not x.requires_grad
    assert x.new_empty(2, 2).shape == (2, 2) and x.new_zeros((2,)).tolist() == [0, 0]


def test_memory_is_returned():
    """Temporaries are freed at once: a loop of large results does not grow."""
    import resource

    x = lib.ones(1000, 1000)
    for _ in range(5):
        x * 2
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200):
        y = x * 2
        y = y + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_numbers_that_do_not_fit():
    u, i = lib.zeros(3, dtype=lib.uint8), lib.zeros(3, dtype=lib.int64)
    for write in (lambda: u.fill_(300), lambda: u.__setitem__(0, 300), lambda: i.__setitem__(0, float("inf")),
                  lambda: i.fill_(float("nan")), lambda: lib.tensor([300], dtype=lib.uint8),
                  lambda: lib.full((2,), 300, dtype=lib.uint8), lambda: lib.zeros(1).fill_(1e300),
                  lambda: i.masked_fill(i == 0, float("nan")), lambda: lib.tensor([1e30], dtype=lib.int32)):
        with raises_with(RuntimeError, "without overflow"):
            write()
    for make in (lambda: lib.tensor(2**63), lambda: lib.tensor([2**70])):
        with pytest.raises((ValueError, RuntimeError)):
            make()
    with pytest.raises(OverflowError):
        i + 2**70
    assert u.tolist() == i.tolist() == [0, 0, 0]
    assert lib.tensor([-1], dtype=lib.uint8).item() == 255
    assert lib.tensor(2.7, dtype=lib.int8).item() == 2 and lib.tensor([1.5, 10**30]).dtype == lib.float32
    assert lib.tensor(10**30, dtype=lib.float64).item() == 1e30
    assert lib.arange(3).masked_fill(lib.tensor([True, False, True]), 7.5).tolist() == [7, 1, 7]
    assert (lib.zeros(2).fill_(float("inf")) > 1e38).all()


def test_only_one_element_becomes_a_number():
    for convert in (float, int):
        with raises_with(ValueError, "only one element"):
            convert(lib.ones(2))


def test_contains():
    x = lib.arange(3)
    assert 2 in x and 5 not in x and lib.tensor(1) in x
    for odd in ("a", [1]):
        with raises_with(RuntimeError, "only supports Tensor or scalar"):
            odd in x  # noqa: B015


def test_view_as_another_dtype():
    x = lib.arange(8.0).view(2, 4)
    wide, narrow = x.view(lib.float64), x.view(lib.int16)
    assert wide.shape == (2, 2) and narrow.shape == (2, 8) and narrow.stride() == (8, 1)
    assert wide.view(lib.float32).tolist() == x.tolist() and x.view(lib.int32).view(lib.float32).tolist() == x.tolist()
    assert x[1:].view(lib.float64).storage_offset() == 2
    np.testing.assert_array_equal(x.numpy().view(np.uint8), x.view(lib.uint8).numpy())
    x.view(lib.int32)[0, 0] = 0x3F800000
    assert x[0, 0] == 1
    for bad in (lambda: x.t().view(lib.float64), lambda: x[:, :3].view(lib.float64), lambda: lib.ones(()).view(lib.int8)):
        with raises_with(RuntimeError, "different element sizes"):
            bad()
