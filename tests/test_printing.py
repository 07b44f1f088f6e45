"""repr of tensors: exactly PyTorch's text."""

import re

import fireseed as fs
import numpy as np
import pytest
from parity import peer

SHAPES = [
    (),
    (0,),
    (0, 3),
    (1,),
    (3,),
    (30,),
    (2, 3),
    (2, 3, 4),
    (2, 2, 2, 2),
    (40, 50),
    (11, 12, 13),
    (1001,),
    (7, 1, 300),
    (1, 1001),
]
OPTIONS = [
    {},
    {"precision": 2},
    {"profile": "short"},
    {"linewidth": 40},
    {"edgeitems": 1, "threshold": 5},
    {"sci_mode": True},
    {"sci_mode": False},
    {"threshold": 10, "edgeitems": 0},
    {"profile": "full"},
]


def normal(text):
    """Without the library's name in dtypes, and without the line breaks that come from its length."""
    return re.sub(r",\s+(dtype|size|grad_fn|requires_grad)=", r", \1=", re.sub(r"\b(torch|fireseed)\.", "", text))


@pytest.fixture
def options():
    yield
    fs.set_printoptions(profile="default")
    try:
        import torch

        torch.set_printoptions(profile="default")
    except ImportError:
        pass


@pytest.mark.parametrize("how", OPTIONS, ids=str)
def test_same_text(how, options):
    torch = peer()
    for lib in (fs, torch):
        lib.set_printoptions(**{"profile": "default", **how})
    rng = np.random.RandomState(0)
    for shape in SHAPES:
        if how.get("profile") == "full" and np.prod(shape) > 100:
            continue
        values = np.asarray(rng.randn(*shape))
        odd = np.where(rng.rand(*shape) < 0.2, np.nan, np.where(rng.rand(*shape) < 0.2, -np.inf, values))
        arrays = [
            values,
            values.astype(np.float32),
            (values * 1e6).astype(np.float32),
            (values * 1e-6).astype(np.float32),
            values * 1e9,
            odd.astype(np.float32),
            (values * 3).astype(np.int64),
            (values * 100).astype(np.int32),
            values > 0,
            np.round(values * 3).astype(np.float32),
            np.zeros(shape, np.float32),
            (np.abs(values) * 9).astype(np.uint8),
        ]
        for a in arrays:
            assert normal(repr(fs.tensor(a))) == normal(repr(torch.tensor(a)))
        for name in ("float16", "bfloat16"):
            a, b = (lib.tensor(values).to(getattr(lib, name)) for lib in (fs, torch))
            assert normal(repr(a)) == normal(repr(b))
        a, b = (lib.tensor(values, dtype=lib.float32, requires_grad=True) for lib in (fs, torch))
        assert normal(repr(a)) == normal(repr(b)) and normal(str(a * 2)) == normal(str(b * 2))


def test_suffixes():
    x = fs.zeros(2, requires_grad=True)
    assert repr(x) == "tensor([0., 0.], requires_grad=True)"
    assert repr(x * 2) == "tensor([0., 0.], grad_fn=<MulBackward0>)"
    assert "dtype=" in repr(fs.zeros(1, dtype=fs.float64)) and "dtype=" not in repr(fs.zeros(1, dtype=fs.int64))
    assert repr(fs.zeros(0, 2)) == "tensor([], size=(0, 2))"


def test_options(options):
    with fs._tensor_str.printoptions(precision=1):
        assert repr(fs.tensor([1.23])) == "tensor([1.2])"
    assert repr(fs.tensor([1.23])) == "tensor([1.2300])"
    with pytest.raises(ValueError, match="profile"):
        fs.set_printoptions(profile="wide")
