# masked reductions and normalisations against numpy on the elements that are left, with gradients.
import importlib

import numpy as np
import pytest
from finite_difference import check_first_order, check_second_order
from under_test import LIB_NAME, lib, raises_with, tensor, to_numpy

masked = importlib.import_module(LIB_NAME + ".masked")
X = np.random.default_rng(0).standard_normal((3, 4, 5))
MASK = np.random.default_rng(1).random((3, 4, 5)) < 0.6
MASK[1, 2] = False  # nothing is left here
MASK[0, :, 0] = True


def lse(v):
    return np.log(np.exp(v).sum()) if v.size else -np.inf


def variance(correction):
    def f(v):
        with np.errstate(all="ignore"):
            return np.square(v - v.sum() / v.size).sum() / max(v.size - correction, 0) if v.size else np.nan

    return f


REDUCTIONS = {
    "sum": np.sum,
    "prod": np.prod,
    "amax": lambda v: v.max(initial=-np.inf),
    "amin": lambda v: v.min(initial=np.inf),
    "mean": lambda v: v.mean() if v.size else np.nan,
    "norm": lambda v: np.sqrt((v * v).sum()),
    "logsumexp": lse,
    "var": variance(1),
    "std": lambda v: np.sqrt(variance(1)(v)),
}


def reduce(f, x, mask, dims):
    """f of the elements of x that the mask leaves, over dims."""
    rest = [d for d in range(x.ndim) if d not in dims]
    out = np.empty([x.shape[d] for d in rest])
    for k in np.ndindex(*out.shape):
        at = [slice(None)] * x.ndim
        for d, i in zip(rest, k):
            at[d] = i
        with np.errstate(all="ignore"):
            out[k] = f(x[tuple(at)][mask[tuple(at)]])
    return out


def close(got, want):
    np.testing.assert_allclose(to_numpy(got), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2), ()])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, dim):
    f = getattr(masked, name)
    args = (2.0, dim) if name == "norm" else (dim,)
    dims = (0, 1, 2) if dim in (None, ()) else tuple(d % 3 for d in ((dim,) if isinstance(dim, int) else dim))
    mask = tensor(MASK)
    want = reduce(REDUCTIONS[name], X, MASK, dims)
    close(f(tensor(X), *args, mask=mask), want)
    close(f(tensor(X), *args, keepdim=True, mask=mask), np.expand_dims(want, dims))
    close(f(tensor(X), *args), reduce(REDUCTIONS[name], X, np.ones_like(MASK), dims))
    close(f(tensor(X), *args, mask=mask[0, 0]), reduce(REDUCTIONS[name], X, np.broadcast_to(MASK[0, 0], X.shape), dims))


def test_arguments_and_medians():
    x, m = tensor(X), tensor(MASK)
    where = lambda v: np.where(MASK, X, v)  # noqa: E731
    close(masked.argmax(x, 1, mask=m), where(-np.inf).argmax(1))
    close(masked.argmin(x, 1, keepdim=True, mask=m), where(np.inf).argmin(1)[:, None])
    want = reduce(lambda v: np.sort(v)[(v.size - 1) // 2] if v.size else np.nan, X, MASK, (2,))
    close(masked.median(x, 2, mask=m), want)
    close(masked.var(x, 0, unbiased=False, mask=m), reduce(variance(0), X, MASK, (0,)))
    close(masked.norm(x, 1, 2, mask=m), np.abs(where(0)).sum(2))
    close(masked.norm(x, -np.inf, 1, mask=m), np.abs(where(np.inf)).min(1))


def test_integers():
    x, m = tensor(np.arange(12).reshape(3, 4), "int32"), tensor(np.arange(12).reshape(3, 4) % 2 == 0)
    assert masked.sum(x, 1, mask=m).dtype == lib.int64
    assert masked.sum(x, 1, mask=m).tolist() == [2, 10, 18]
    assert masked.prod(x, 1, mask=m).tolist() == [0, 24, 80]
    assert masked.amax(x, 0, mask=m).tolist() == [8, -(2**31), 10, -(2**31)]
    assert masked.median(x, 1, mask=m).tolist() == [0, 4, 8]
    with raises_with(ValueError, "mean", "int32"):
        masked.mean(x, mask=m)
    with raises_with(ValueError, "fully masked out"):
        masked.median(x, 0, mask=m)


def test_normalisations():
    x, m = tensor(X), tensor(MASK)
    e = np.where(MASK, np.exp(X), 0)
    with np.errstate(all="ignore"):
        soft = e / e.sum(1, keepdims=True)
        small = np.where(MASK, np.exp(-X), 0)
        close(masked.softmin(x, 1, mask=m), small / small.sum(1, keepdims=True))
        close(masked.log_softmax(x, 1, mask=m), np.log(soft))
    close(masked.softmax(x, 1, mask=m), soft)
    kept = np.where(MASK, X, 0)
    close(masked.normalize(x, 2.0, 1, mask=m), kept / np.maximum(np.sqrt((kept**2).sum(1, keepdims=True)), 1e-12))
    close(masked.cumsum(x, 1, mask=m), kept.cumsum(1))
    close(masked.cumprod(x, 1, mask=m), np.where(MASK, X, 1).cumprod(1))
    low = np.where(MASK, X, -np.inf)
    close(masked.logaddexp(x, x, input_mask=m), np.logaddexp(low, X))


def test_errors():
    x = tensor(X)
    with raises_with(IndexError, "3"):
        masked.sum(x, 3)
    with raises_with(RuntimeError, "dim=1"):
        masked.sum(x, (1, 1))
    with raises_with(IndexError, "dimensionality"):
        masked.sum(x[0], mask=tensor(MASK))


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "logsumexp", "softmax", "log_softmax", "normalize"])
def test_gradients(name):
    f = getattr(masked, name)
    mask = tensor(MASK[0])
    args = (2.0, 1) if name == "normalize" else (1,)

    def call(x):
        return lib.where(mask, y, 0.0) if (y := f(x, *args, mask=mask)).dim() == 2 else y

    check_first_order(call, [X[0]], tol=5)
    check_second_order(call, [X[0]], tol=5)
