# pytest set-up: sys.path, reproducible random numbers, the library under test in the header.
import os
import sys

import numpy as np
import pytest

sys.path.insert(0, os.path.dirname(__file__))
from under_test import DEVICE, IS_FIRESEED, LIB_NAME, NO_KERNEL, lib  # noqa: E402


def pytest_report_header():
    version, folder = getattr(lib, "__version__", ""), os.path.dirname(lib.__file__)
    return f"library under test: {LIB_NAME} {version} from {folder}" + (f", on {DEVICE}" if DEVICE != "cpu" else "")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """With FIRESEED_TEST_DEVICE=cuda a test whose op has no CUDA kernel yet is skipped, and the op is named."""
    try:
        return (yield)
    except NotImplementedError as error:
        if DEVICE != "cpu" and NO_KERNEL in str(error):
            pytest.skip(f"{str(error).split(':')[0].removesuffix('()')}: no CUDA kernel yet")
        raise


# What PyTorch itself cannot do, so that FIRESEED_TEST_LIB=torch shows only faults of the tests.
PEER_LACKS = [
    "test_inplace_gradient[pointwise/asinh",
    "test_inplace_gradient[pointwise/acosh",
    "test_inplace_gradient[pointwise/atanh",
    "nn.functional.avg_pool3d",
    "test_second_gradient[activation/nn.functional.hardsigmoid]",
    "test_second_gradient[index/nn.functional.embedding]",
]


def pytest_collection_modifyitems(items):
    if not IS_FIRESEED:
        for item in items:
            if any(name in item.nodeid for name in PEER_LACKS):
                item.add_marker(pytest.mark.skip(reason="PyTorch lacks it"))


@pytest.fixture(autouse=True)
def _reproducible():
    """Every test starts from the same seed and leaves grad mode and threads as it found them."""
    threads = lib.get_num_threads()
    np.random.seed(0)
    lib.manual_seed(0)
    yield
    if lib.get_num_threads() != threads:
        lib.set_num_threads(threads)
    assert lib.is_grad_enabled(), "the test left grad mode off"
