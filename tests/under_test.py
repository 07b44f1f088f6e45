# The library under test: `lib`, `nn`, `F` of fireseed, or of whatever FIRESEED_TEST_LIB names.
#
# FIRESEED_TEST_LIB=torch runs the same files against PyTorch, which shows that what they expect is PyTorch's
# behaviour. The tests themselves never need it.
import contextlib
import importlib
import os

import numpy as np
import pytest

# FIRESEED_TEST_DEVICE=cuda runs the same tests there: factories put their tensors on that device.
DEVICE = os.environ.get("FIRESEED_TEST_DEVICE", "cpu")
NO_KERNEL = "no kernel for device cuda"  # in the text of an op that the CUDA plugin lacks
LIB_NAME = os.environ.get("FIRESEED_TEST_LIB", "fireseed")
IS_FIRESEED = LIB_NAME == "fireseed"
lib = importlib.import_module(LIB_NAME)
F = importlib.import_module(LIB_NAME + ".nn.functional")
nn = importlib.import_module(LIB_NAME + ".nn")
if DEVICE != "cpu":
    lib.set_default_device(DEVICE)
    # Float32 convolutions round to tf32 by default, as PyTorch's do; the tests compare with float32's tolerances.
    lib.backends.cudnn.allow_tf32 = False

FLOAT = ("float64", "float32", "float16", "bfloat16")
INT = ("int64", "int32", "int16", "int8", "uint8")
NUM = FLOAT + INT
ALL = NUM + ("bool",)


def resolve(path):
    """The callable behind "softmax", "nn.functional.gelu" or "Tensor.add_"."""
    if path.startswith("Tensor."):
        method = getattr(lib.Tensor, path[len("Tensor.") :])
        if callable(method):
            return method
        return method.__get__  # a property
    here = F if path.startswith("nn.functional.") else lib
    for part in path.removeprefix("nn.functional.").split("."):
        here = getattr(here, part)
    return here


def dtype_of(name):
    return getattr(lib, name)


def dtype_name(x):
    """ "float32" for a tensor or a dtype."""
    return str(getattr(x, "dtype", x)).split(".")[-1]


def tensor(array, dtype=None, requires_grad=False):
    """A tensor that owns its memory, from a numpy array, list or number."""
    array = np.array(array)
    dtype = dtype_of(dtype or str(array.dtype))
    if array.ndim == 0 or array.size == 0:
        x = lib.tensor(array.tolist(), dtype=dtype)
    else:
        x = lib.tensor(array).to(dtype)
    if array.size == 0:
        x = x.reshape(tuple(array.shape))
    return x.requires_grad_() if requires_grad else x


def to_numpy(x):
    """A numpy copy; halves come as float32 (numpy has no bfloat16)."""
    x = x.detach().cpu()
    if dtype_name(x) in ("float16", "bfloat16"):
        x = x.to(lib.float32)
    return np.array(x.numpy() if IS_FIRESEED else x.numpy(force=True))


@contextlib.contextmanager
def raises_with(error, *fragments):
    """pytest.raises(error); fireseed's text must hold every fragment (PyTorch's texts differ)."""
    # What depends on values is found by the kernel, on a device later and as a CUDA error.
    expected = error if isinstance(error, tuple) else (error,)
    with pytest.raises(expected if DEVICE == "cpu" else (*expected, RuntimeError)) as info:
        yield info
    if DEVICE != "cpu" and "CUDA error" in str(info.value):
        return
    if DEVICE != "cpu" and NO_KERNEL in str(info.value):
        raise NotImplementedError(str(info.value))
    if IS_FIRESEED:
        text = str(info.value)
        missing = [f for f in fragments if f not in text]
        assert not missing, f"the text {text!r} does not mention {missing}"
