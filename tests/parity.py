"""Helpers of the tests that lay fireseed beside PyTorch: values cross over through numpy."""

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


def compare(call, args, rtol=1e-4, atol=1e-5, grads=True):
    """Runs call(lib, *args) in both libraries, with one seed, and compares outputs and input gradients."""
    torch = peer()
    outs, ins = [], []
    for lib in (fs, torch):
        lib.manual_seed(11)
        inputs = as_lib(lib, list(args))
        out = call(lib, *inputs)
        outs.append(out)
        if grads:
            backward(lib, out)
        ins.append([t.grad for t in leaves(inputs)])
    assert_same(outs[0], outs[1], rtol, atol, "output")
    if grads:
        for i, (g, w) in enumerate(zip(*ins, strict=False)):
            assert (g is None) == (w is None), f"gradient {i}: {g} and {w}"
            if w is not None:
                assert_same(g, w, rtol, atol, f"gradient of input {i}")
