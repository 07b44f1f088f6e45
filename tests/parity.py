"""Helpers of the tests that lay fireseed beside PyTorch: values cross over through numpy.

Where PyTorch is not installed, results are compared with digests of PyTorch's, stored in data/parity.json (written by
`FIRESEED_STORE_PARITY=1 python -m pytest tests`, with PyTorch 2.13).
"""

import atexit
import json
import os

import fireseed as fs
import numpy as np
import pytest


def peer():
    """PyTorch, or the test is skipped."""
    return pytest.importorskip("torch")


def to_numpy(value):
    """Tensors, also inside tuples, lists and dicts, as numpy arrays; the rest as it is."""
    if isinstance(value, (tuple, list)):
        return [to_numpy(v) for v in value]
    if isinstance(value, dict):
        return {k: to_numpy(v) for k, v in value.items()}
    if hasattr(value, "detach"):
        return value.detach().numpy()
    return value


def as_lib(lib, value):
    """numpy arrays as tensors of a library: fresh leaves, floating ones with requires_grad."""
    if isinstance(value, (tuple, list)):
        return type(value)(as_lib(lib, v) for v in value)
    if isinstance(value, dict):
        return {k: as_lib(lib, v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        t = lib.tensor(value)
        return t.requires_grad_(True) if value.dtype.kind == "f" else t
    return value


def assert_same(got, want, rtol=1e-4, atol=1e-5, what=""):
    """Equal structure, shapes, dtypes and nearly equal values."""
    got, want = to_numpy(got), to_numpy(want)
    if isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want), what
        for i, (g, w) in enumerate(zip(got, want, strict=False)):
            assert_same(g, w, rtol, atol, f"{what}[{i}]")
    elif isinstance(want, np.ndarray):
        assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
        assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
        np.testing.assert_allclose(got, want, rtol, atol, err_msg=what)
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=rtol, abs=atol, nan_ok=True), what
    else:
        assert got == want, f"{what}: {got!r}, expected {want!r}"


def leaves(value):
    """All tensors of a nested value that want gradients."""
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in leaves(v)]
    if isinstance(value, dict):
        return [t for v in value.values() for t in leaves(v)]
    return [value] if getattr(value, "requires_grad", False) else []


def backward(lib, out):
    """Backpropagates a fixed random cotangent through all floating outputs."""
    rng = np.random.RandomState(7)
    total = None
    for t in leaves(out):
        g = lib.tensor(np.asarray(rng.randn(*t.shape)).astype(str(t.dtype).rpartition(".")[2]))
        term = (t * g).sum()
        total = term if total is None else total + term
    if total is not None:
        total.backward()


STORE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "parity.json")
_stored, _counts = None, {}


def digest(value):
    """A short form of a result: of each array its shape, dtype, a weighted sum and the sum of magnitudes."""
    if isinstance(value, list):
        return [digest(v) for v in value]
    if isinstance(value, np.ndarray):
        a = np.nan_to_num(value.astype(np.float64).ravel(), nan=7.0, posinf=11.0, neginf=-11.0)
        total = float((a * np.cos(0.7 * np.arange(a.size) + 0.3)).sum())
        return {
            "shape": list(value.shape),
            "dtype": str(value.dtype),
            "sum": float(f"{total:.7g}"),
            "size": float(f"{np.abs(a).sum():.7g}"),
        }
    if isinstance(value, np.generic):
        return value.item()
    return value


def assert_digest(got, want, rtol, atol, what):
    """got agrees with a stored digest, up to what rounding may do to sums."""
    if isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want), what
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            assert_digest(g, w, rtol, atol, f"{what}[{i}]")
    elif isinstance(want, dict):
        count = int(np.prod(want["shape"]))
        assert (got["shape"], got["dtype"]) == (want["shape"], want["dtype"]), what
        limit = rtol * want["size"] + atol * max(count, 1)
        assert abs(got["sum"] - want["sum"]) <= limit and abs(got["size"] - want["size"]) <= limit, (what, got, want)
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=rtol, abs=atol, nan_ok=True), what
    else:
        assert got == want, what


def against_peer(run, rtol=1e-4, atol=1e-5):
    """run(lib) gives nested lists of tensors, numbers and texts: the same for fireseed as for PyTorch."""
    global _stored
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition("/")[2].rpartition(" ")[0]
    _counts[test] = _counts.get(test, 0) + 1
    key = f"{test}#{_counts[test]}"
    got = to_numpy(run(fs))
    try:
        import torch
    except ImportError:
        torch = None
    if torch is not None:
        want = to_numpy(run(torch))
        if os.environ.get("FIRESEED_STORE_PARITY"):
            if _stored is None:
                _stored = {}
                atexit.register(_write)
            _stored[key] = digest(want)
        assert_same(got, want, rtol, atol)
        return
    if _stored is None:
        with open(STORE) as file:
            _stored = json.load(file)
    assert_digest(digest(got), _stored[key], max(rtol, 1e-3), atol, key)


def _write():
    with open(STORE, "w") as file:
        file.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in _stored.items()) + "\n}\n")


def compare(call, args, rtol=1e-4, atol=1e-5, grads=True):
    """call(lib, *args) gives the same outputs and input gradients in both libraries, with one seed."""

    def run(lib):
        lib.manual_seed(11)
        inputs = as_lib(lib, list(args))
        out = call(lib, *inputs)
        if not grads:
            return [out]
        backward(lib, out)
        return [out, [t.grad for t in leaves(inputs)]]

    against_peer(run, rtol, atol)
