"""testing: assert_close finds what differs and says how much and where; make_tensor."""
import pytest
from under_test import lib, tensor

testing = pytest.importorskip(lib.__name__ + ".testing")


@pytest.mark.parametrize("a, b", [
    (lambda: lib.ones(3), lambda: lib.ones(3) + 1e-6),
    (lambda: [lib.ones(2), {"k": 3}], lambda: [lib.ones(2), {"k": 3}]),
    (lambda: lib.tensor([1, 2]), lambda: lib.tensor([1, 2])),
    (lambda: 1.0, lambda: 1.0 + 1e-9),
    (lambda: None, lambda: None),
    (lambda: lib.ones(2, dtype=lib.bool), lambda: lib.ones(2, dtype=lib.bool)),
])
def test_what_is_close(a, b):
    testing.assert_close(a(), b())


@pytest.mark.parametrize("a, b, options, text", [
    (lambda: lib.ones(3), lambda: lib.tensor([1.0, 1.5, 1.0]), {},
     "Tensor-likes are not close!\n\nMismatched elements: 1 / 3 (33.3%)\nGreatest absolute difference: 0.5 at index (1,)"),
    (lambda: lib.ones(3), lambda: lib.ones(2), {}, "The values for attribute 'shape' do not match"),
    (lambda: lib.ones(3), lambda: lib.ones(3, dtype=lib.float64), {}, "The values for attribute 'dtype' do not match"),
    (lambda: lib.tensor([1, 2]), lambda: lib.tensor([1, 3]), {}, "Tensor-likes are not equal!"),
    (lambda: {"a": lib.ones(1)}, lambda: {"a": lib.zeros(1)}, {}, "The failure occurred for item ['a']"),
    (lambda: [1, 2], lambda: [1], {}, "The length of the sequences mismatch: 2 != 1"),
    (lambda: {"a": 1}, lambda: {"b": 1}, {}, "The keys of the mappings do not match"),
    (lambda: 1.0, lambda: 1.1, {}, "Scalars are not close!"),
    (lambda: 1, lambda: 2, {}, "Scalars are not equal!"),
    (lambda: lib.tensor(float("nan")), lambda: lib.tensor(float("nan")), {}, "Scalars are not close!"),
    (lambda: lib.ones(1), lambda: lib.zeros(1), {"msg": "my words"}, "my words"),
    (lambda: lib.ones(2, 2), lambda: lib.ones(2, 2).t(), {"check_stride": True}, "stride"),
])
def test_what_is_not(a, b, options, text):
    with pytest.raises(AssertionError) as error:
        testing.assert_close(a(), b(), **options)
    assert text in str(error.value)


def test_options():
    testing.assert_close(lib.ones(2), lib.ones(2) * 1.05, rtol=0.1, atol=0)
    testing.assert_close(lib.ones(2), lib.ones(2, dtype=lib.float64), check_dtype=False)
    nan = lib.tensor([float("nan")])
    testing.assert_close(nan, nan, equal_nan=True)
    testing.assert_close(tensor([1, 2]), lib.tensor([1.0, 2.0]), check_dtype=False)
    with pytest.raises(ValueError, match="(?i)both"):
        testing.assert_close(nan, nan, rtol=1.0)
    with pytest.raises(TypeError):
        testing.assert_close(lib.ones(1), "one")


def test_make_tensor():
    x = testing.make_tensor(4, 50, dtype=lib.float32, device="cpu", low=-1, high=2)
    assert x.shape == (4, 50) and -1 <= x.min() < 0 < 1 < x.max() < 2
    y = testing.make_tensor((3, 4), dtype=lib.int64, device="cpu", exclude_zero=True, noncontiguous=True)
    assert y.shape == (3, 4) and not y.is_contiguous() and (y != 0).all() and y.abs().max() < 10
    assert testing.make_tensor(5, dtype=lib.bool, device="cpu").dtype == lib.bool
    assert testing.make_tensor(5, dtype=lib.float64, device="cpu", requires_grad=True).requires_grad
