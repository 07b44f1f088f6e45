"""Against PyTorch itself: scripts print the same numbers, small uses give the same values, no public name lacks a reason."""
import importlib
import os
import re
import subprocess
import sys
import types
import warnings

import census
import numpy as np
import pytest
from test_run_scripts import SCRIPTS, run_script

torch = pytest.importorskip("torch")

import fireseed  # noqa: E402
from fireseed.check import status  # noqa: E402

NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?|nan|inf")


def same(a, b, tolerance):
    if isinstance(a, (float, int)) and isinstance(b, (float, int)):
        return a == b or (a != a and b != b) or abs(a - b) <= tolerance * max(1.0, abs(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(p, q, tolerance) for p, q in zip(a, b))
    return a == b


# Imports PyTorch once and forks for each script: OUT PATH...; writes OUT/<name>.out and .err.
RUN_ALL = """
import os, runpy, sys, traceback
import torch
out = sys.argv[1]
for path in sys.argv[2:]:
    name = os.path.join(out, os.path.basename(path))
    os.makedirs(name + ".dir")
    pid = os.fork()
    if pid == 0:
        for stream, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(name + suffix, os.O_WRONLY | os.O_CREAT), stream)
        os.chdir(name + ".dir")
        sys.argv, code = [path], 0
        try:
            runpy.run_path(path, run_name="__main__")
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.waitpid(pid, 0)
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A folder with the output of every script under PyTorch."""
    folder = tmp_path_factory.mktemp("theirs")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", RUN_ALL, str(folder), *map(str, SCRIPTS)], check=True,
                   timeout=600, env={**environment, "OMP_NUM_THREADS": "1"})
    return folder


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_scripts_print_the_same(path, theirs):
    ours = run_script(path)
    assert ours.returncode == 0, ours.stderr
    expected = (theirs / f"{path.name}.out").read_text()
    assert expected, (theirs / f"{path.name}.err").read_text()
    if path.stem == "printing":
        assert ours.stdout == expected
        return
    mine, expected = (text.replace("-0.00000", "0.00000") for text in (ours.stdout, expected))
    assert NUMBER.sub("#", mine) == NUMBER.sub("#", expected)
    for a, b in zip(NUMBER.findall(mine), NUMBER.findall(expected)):
        assert same(float(a), float(b), 1e-4), f"{a} is not PyTorch's {b}:\n{mine}\n{expected}"


# PyTorch on the CPU cannot do these, or needs packages of its own for them.
NOT_COMPARED = {"torch.utils.tensorboard", "torch.cuda.set_device", "torch.cuda.memory_summary",
                "torch.nn.parallel.data_parallel", "torch.onnx.export"}


@pytest.mark.parametrize("entry", [e for e in census.entries() if e.code], ids=lambda e: e.name)
def test_small_uses_give_the_same(entry):
    if entry.name in NOT_COMPARED:
        pytest.skip("not on PyTorch's CPU build")
    for name in ("distributed", "multiprocessing", "nn.utils.prune", "utils.benchmark", "autograd.function"):
        importlib.import_module("torch." + name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = census.plain(census.run(entry.code, torch))
        ours = census.plain(census.run(entry.code, fireseed))
    assert same(ours, theirs, 1e-5), f"{ours} is not PyTorch's {theirs}"


MODULES = """torch Tensor torch.nn torch.nn.functional torch.nn.init torch.nn.utils torch.nn.utils.rnn torch.nn.utils.prune
torch.nn.utils.parametrize torch.nn.utils.parametrizations torch.optim torch.optim.lr_scheduler torch.optim.swa_utils
torch.utils.data torch.autograd torch.autograd.functional torch.linalg torch.special torch.distributions
torch.distributions.constraints torch.distributions.transforms torch.distributions.kl torch.func torch.hub torch.functional
torch.jit torch.distributed torch.multiprocessing torch.nn.attention torch.nn.parallel torch.compiler torch.random
torch.backends.cudnn torch.backends.cuda torch.backends.mps torch.signal.windows torch.types""".split()


def public(module):
    """The documented names of one of PyTorch's modules, without those of modules it imports."""
    names = getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]
    for name in names:
        value = getattr(module, name, None)
        foreign = getattr(value, "__module__", None) or ""
        if name.startswith("_") or isinstance(value, (types.ModuleType, dict)) or foreign.split(".")[0] in (
                "typing", "collections", "functools", "enum", "types", "datetime", "builtins") and module is not torch:
            continue
        if module is torch and isinstance(value, type) and (foreign.startswith("torch._C") or hasattr(torch._C, name)):
            continue  # classes of the compiler and the like, which PyTorch does not document
        if module is torch.nn.functional and (isinstance(value, (type, bool)) or not callable(value)):
            continue  # what it imports
        yield name


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there_or_has_a_reason(module):
    try:
        theirs = torch.Tensor if module == "Tensor" else importlib.import_module(module)
    except ImportError:
        pytest.skip(f"this PyTorch has no {module}")
    unexplained = [name for name in public(theirs) if status(f"{module}.{name}") == ("missing",
                                                                                     "fireseed has no such name")]
    assert not unexplained, f"neither in fireseed nor in _torch_support: {unexplained}"


@pytest.mark.parametrize("replicas, drop_last, shuffle", [(3, True, True), (3, False, True), (4, False, False)])
def test_distributed_sampler_gives_the_same_order(replicas, drop_last, shuffle):
    for rank in range(replicas):
        orders = []
        for lib in (fireseed, torch):
            sampler = lib.utils.data.DistributedSampler(range(10), replicas, rank, shuffle=shuffle, drop_last=drop_last)
            sampler.set_epoch(3)
            orders.append((list(sampler), len(sampler)))
        assert orders[0] == orders[1]


def test_versions_compare_the_same():
    from fireseed.torch_version import TorchVersion
    theirs = torch.torch_version.TorchVersion("2.13.0")
    ours = TorchVersion("2.13.0")
    for other in ("2.9", "2.13", "2.13.0", "10.0", "1.8.1", (2, 13), (3,), (2, 1, 0)):
        for compare in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__"):
            assert getattr(ours, compare)(other) == getattr(theirs, compare)(other), (compare, other)


def test_multivariate_normal_gives_the_same_samples():
    for lib in (fireseed, torch):
        lib.manual_seed(4)
    pair = []
    for lib in (fireseed, torch):
        cov = lib.tensor([[2.0, 0.5], [0.5, 1.0]])
        d = lib.distributions.MultivariateNormal(lib.tensor([1.0, 2.0]), cov)
        p = lib.distributions.MultivariateNormal(lib.zeros(3, 2), precision_matrix=cov)
        pair.append([d.sample((3,)), d.log_prob(lib.ones(4, 2)), d.entropy(), p.log_prob(lib.ones(2)), p.scale_tril,
                     lib.distributions.kl_divergence(d, p)])
    for ours, theirs in zip(*pair):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)
