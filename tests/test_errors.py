# Bad input of every kind: an exception of PyTorch's type whose text says what came; never a crash.
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from op_table import ROWS
from op_table.core import fill_in, materialise, specs_of, tensors_of
from under_test import IS_FIRESEED, LIB_NAME, F, lib, nn, raises_with, resolve

R, V, T, I = RuntimeError, ValueError, TypeError, IndexError  # noqa: E741


def z(*shape, dtype="float32"):
    return lib.zeros(*shape, dtype=getattr(lib, dtype))


CASES = {
    # shapes: the text has the op and both shapes
    "add shapes": (R, ("add", "[2, 3]", "[2, 4]"), lambda: z(2, 3) + z(2, 4)),
    "matmul shapes": (R, ("matmul", "2x3", "4x5"), lambda: z(2, 3) @ z(4, 5)),
    "linear shapes": (R, ("linear", "[8, 3]", "[5, 4]"), lambda: F.linear(z(8, 3), z(5, 4))),
    "conv2d channels": (
        R,
        ("conv2d", "[1, 3, 8, 8]", "[4, 2, 3, 3]"),
        lambda: F.conv2d(z(1, 3, 8, 8), z(4, 2, 3, 3)),
    ),
    "cat shapes": (R, ("cat", "[2, 3]", "[2, 4]"), lambda: lib.cat([z(2, 3), z(2, 4)])),
    "view size": (R, ("view", "[5]", "6"), lambda: z(2, 3).view(5)),
    "expand": (R, ("expand", "[3]", "[4]"), lambda: z(3).expand(4)),
    "layer_norm": (R, ("layer_norm", "[2, 3]", "[4]"), lambda: F.layer_norm(z(2, 3), (4,))),
    "gather index rank": (R, ("gather",), lambda: z(2, 3).gather(0, z(2, dtype="int64"))),
    "mse_loss shapes": (R, ("[2, 3]", "[2, 4]"), lambda: F.mse_loss(z(2, 3), z(2, 4))),
    "cross_entropy batch": (
        V,
        ("cross_entropy", "3", "2"),
        lambda: F.cross_entropy(z(3, 4), z(2, dtype="int64")),
    ),
    # dtypes
    "matmul dtypes": (R, ("matmul", "float", "double"), lambda: z(2, 2) @ z(2, 2, dtype="float64")),
    "mean of ints": (R, ("mean", "int64"), lambda: z(3, dtype="int64").mean()),
    "softmax of ints": (R, ("softmax", "int64"), lambda: z(3, dtype="int64").softmax(0)),
    "float index": (I, ("float32",), lambda: z(3)[z(2)]),
    "embedding float index": (R, ("embedding", "float32"), lambda: F.embedding(z(2), z(3, 4))),
    "sub of bools": (R, ("sub", "bool"), lambda: z(2, dtype="bool") - z(2, dtype="bool")),
    "neg of bool": (R, ("neg", "bool"), lambda: -z(2, dtype="bool")),
    "bitwise of floats": ((R, T), ("bitwise_and", "float32"), lambda: z(2) & z(2)),
    "integer in place of float": (R, ("int64", "float32"), lambda: z(2, dtype="int64").add_(z(2))),
    "conv dtype": (
        R,
        ("conv2d", "loat", "ouble"),
        lambda: F.conv2d(z(1, 1, 3, 3), z(1, 1, 3, 3, dtype="float64")),
    ),
    # dims and ranks
    "sum dim": (I, ("sum", "2", "[-2, 1]"), lambda: z(2, 3).sum(2)),
    "softmax dim": (I, ("softmax", "-3"), lambda: z(2, 3).softmax(-3)),
    "cat dim": (I, ("cat", "2"), lambda: lib.cat([z(2, 3), z(2, 3)], 2)),
    "transpose dim": (I, ("transpose", "3"), lambda: z(2, 3, 4).transpose(0, 3)),
    "t of rank 3": (R, ("t", "3"), lambda: z(2, 3, 4).t()),
    "mm rank": (R, ("mm", "[3]"), lambda: lib.mm(z(3), z(3, 3))),
    "bmm rank": (R, ("bmm",), lambda: lib.bmm(z(3, 3), z(3, 3, 3))),
    "select index": (I, ("5",), lambda: z(2, 3)[:, 5]),
    "permute count": (R, ("permute",), lambda: z(2, 3).permute(0)),
    "permute repeat": (R, ("permute",), lambda: z(2, 3).permute(0, 0)),
    "squeeze dim": (I, ("squeeze",), lambda: z(2, 3).squeeze(5)),
    "repeated dim": (R, ("sum",), lambda: z(2, 3).sum((0, 0))),
    # values
    "class out of range": (I, ("cross_entropy", "7"), lambda: F.cross_entropy(z(2, 4), lib.tensor([0, 7]))),
    "embedding index": (I, ("embedding", "9"), lambda: F.embedding(lib.tensor([9]), z(3, 4))),
    "gather index": (R, ("gather", "4"), lambda: z(2, 3).gather(0, lib.full((1, 3), 4))),
    "one_hot negative": (R, ("one_hot",), lambda: F.one_hot(lib.tensor([-1]))),
    "division by zero": ((R, ZeroDivisionError), (), lambda: lib.tensor([1, 2]) // lib.tensor([1, 0])),
    "remainder by zero": ((R, ZeroDivisionError), (), lambda: lib.tensor([1, 2]) % 0),
    "int to negative power": (R, ("negative",), lambda: lib.tensor([1, 2]) ** -1),
    "dropout p": (V, ("dropout", "1.5"), lambda: F.dropout(z(3), 1.5)),
    "multinomial negative": (R, ("multinomial",), lambda: lib.multinomial(lib.tensor([-1.0, 2.0]), 1)),
    "bernoulli p": (R, ("bernoulli",), lambda: lib.bernoulli(lib.tensor([1.5]))),
    "argmax of nothing": (I, ("argmax",), lambda: z(0).argmax()),
    "max of nothing": (R, ("max",), lambda: z(0).max()),
    "stride 0": (R, ("max_pool2d", "stride"), lambda: F.max_pool2d(z(1, 1, 4, 4), 2, 0)),
    "kernel too big": (R, ("conv1d",), lambda: F.conv1d(z(1, 1, 2), z(1, 1, 5))),
    "negative padding": (R, ("conv1d", "padding"), lambda: F.conv1d(z(1, 1, 5), z(1, 1, 2), padding=-1)),
    "groups": (R, ("conv1d", "groups"), lambda: F.conv1d(z(1, 3, 5), z(4, 1, 2), groups=2)),
    "topk too many": (R, ("topk", "4"), lambda: z(3).topk(4)),
    "negative size": (R, ("-2",), lambda: lib.zeros(-2)),
    "arange step": (R, ("arange",), lambda: lib.arange(0, 3, -1)),
    "randint empty": (R, ("randint",), lambda: lib.randint(5, 5, (2,))),
    "unknown reduction": (V, ("mean", "sum"), lambda: F.mse_loss(z(2), z(2), reduction="average")),
    # argument errors
    "no argument": (T, (), lambda: lib.sin()),
    "too many": (T, (), lambda: lib.sin(z(1), z(1), z(1))),
    "unknown keyword": (T, (), lambda: lib.sum(z(2), dimension=0)),
    "twice": (T, (), lambda: lib.sum(z(2), 0, dim=0)),
    "not a tensor": (T, (), lambda: lib.sin("a")),
    "none": (T, (), lambda: lib.add(None, z(1))),
    "list for tensor": (T, (), lambda: lib.sin([1.0])),
    "float dim": (T, (), lambda: z(2).sum(0.5)),
    "string dim": (T, (), lambda: z(2).softmax("a")),
    "bad dtype": (T, (), lambda: lib.zeros(2, dtype="float32")),
    "bad device": (R, (), lambda: lib.zeros(2, device="nonsense")),
    "device": ((R, AssertionError), (), lambda: lib.zeros(2, device="cuda:99")),
    "cat of no list": (T, (), lambda: lib.cat(z(2))),
    "cat of numbers": (T, (), lambda: lib.cat([1, 2])),
    "huge int": ((R, OverflowError, T, V), (), lambda: lib.zeros(2).sum(2**80)),
    "view of a string": (T, (), lambda: z(2).view("a")),
    "unknown attribute": (AttributeError, (), lambda: z(2).no_such_thing),
    "module sizes": (R, ("linear",), lambda: nn.Linear(3, 4)(z(2, 5))),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    error, words, call = CASES[name]
    with raises_with(error, *words):
        call()


def test_errors_leave_no_trace():
    """After an error everything works: grad mode, the tensors, the next call."""
    x = lib.ones(3, requires_grad=True)
    for _ in range(100):
        with pytest.raises(RuntimeError):
            x + lib.ones(4)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2, 2] and lib.is_grad_enabled()


NORMAL = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, NotImplementedError)
NORMAL += (OverflowError, MemoryError, AssertionError, ZeroDivisionError, BufferError)

# Their arguments are sizes: they would allocate what they are told to.
SIZES = {"zeros", "ones", "full", "eye", "arange", "linspace", "logspace", "tril_indices", "triu_indices"}
SIZES |= {"Tensor.repeat", "tile", "diag_embed", "Tensor.new_zeros", "Tensor.new_ones", "Tensor.new_full"}


@pytest.mark.skipif(not IS_FIRESEED, reason="PyTorch itself has faults here")
@pytest.mark.parametrize("name", sorted({r.name for r in ROWS} - SIZES))
def test_nonsense_arguments(name):
    """Every function of the table, called with nonsense: a normal Python exception or a result each time."""
    f = resolve(name)
    rng = np.random.default_rng(0)
    nonsense = [
        None,
        "text",
        object(),
        [],
        {},
        1.5,
        -3,
        lib.ones(2),
        lib.zeros(0),
        lib.tensor(1),
        [lib.ones(1)],
    ]
    nonsense += [(1, 2), float("nan"), 2**70, b"x", lib.float32]
    calls = [[]] + [[a] for a in nonsense]
    calls += [[nonsense[k] for k in rng.permutation(len(nonsense))[:n]] for n in (2, 2, 3, 3, 4, 5)]
    for args in calls:
        try:
            f(*args)
        except NORMAL:
            pass


@pytest.mark.skipif(not IS_FIRESEED, reason="PyTorch itself has faults here")
@pytest.mark.parametrize("row", ROWS, ids=[f"{r.family}/{r.name}-{k}" for k, r in enumerate(ROWS)])
def test_mutated_samples(row):
    """Good calls made wrong (ranks, sizes, dtypes, empties): a result or a normal exception."""
    f = resolve(row.name)
    sample = row.samples[0]
    made = materialise(sample, row.dtypes[0])
    for k, _ in enumerate(specs_of(sample)):
        for change in (
            lambda x: x.reshape(-1)[:0],
            lambda x: x[None],
            lambda x: x.reshape(-1),
            lambda x: x.to(lib.int8),
            lambda x: x.to(lib.bool),
            lambda x: x.to(lib.float16),
            lambda x: lib.zeros(()),
            lambda x: x[..., :1] if x.dim() else x,
            lambda x: lib.zeros(2, 3, 4, 5, 6, 7),
            lambda x: None,
            lambda x: 3,
            lambda x: -1,
        ):
            args, kwargs, tensors = tensors_of(sample, made)
            tensors[k] = change(tensors[k])
            args, kwargs = fill_in(sample, tensors)
            try:
                out = f(*args, **kwargs)
            except NORMAL:
                continue
            for y in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(y, lib.Tensor) and y.requires_grad:
                    y.sum().backward()


def test_out_of_memory():
    """MemoryError, and the program goes on."""
    with pytest.raises(MemoryError if IS_FIRESEED else RuntimeError):
        lib.empty(2**47)
    with pytest.raises((MemoryError, RuntimeError)):
        lib.ones(2**21, 1).expand(2**21, 2**21).contiguous().clone()
    assert (lib.ones(3) + 1).sum().item() == 6


@pytest.mark.parametrize("shape", [(2**31, 2**33), (2**62, 4), (2**63 - 1, 2), (2**63 - 1,)])
def test_sizes_that_overflow(shape):
    with pytest.raises((RuntimeError, MemoryError, OverflowError, TypeError)):
        lib.empty(shape).sum()


def test_keyboard_interrupt():
    """Ctrl-C stops a training loop at once."""
    code = textwrap.dedent(f"""
        import importlib, signal
        lib = importlib.import_module({LIB_NAME!r})
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
        w = lib.ones(64, 64, requires_grad=True)
        print("ready", flush=True)
        while True:
            (w @ w).sum().backward()
    """)
    p = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.readline()
    time.sleep(0.3)
    start = time.time()
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=10)
    assert time.time() - start < 5 and b"KeyboardInterrupt" in err


def test_fork_after_use():
    """A child process made by fork computes: the thread pool is fork-safe."""
    code = textwrap.dedent(f"""
        import importlib, os
        lib = importlib.import_module({LIB_NAME!r})
        x = lib.ones(1000, 1000)
        a = (x @ x).sum().item()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if (x @ x).sum().item() == a and (x * 2).sum().item() == 2e6 else 1)
        raise SystemExit(os.waitpid(pid, 0)[1])
    """)
    if not IS_FIRESEED:
        pytest.skip("PyTorch's OpenMP pool may hang after fork")
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_threads_use_the_library_together():
    failures = []

    def work(k):
        try:
            x = lib.full((200, 200), float(k))
            for _ in range(20):
                assert (x @ x)[0, 0].item() == 200.0 * k * k
                assert x.sum().item() == 40000.0 * k
        except BaseException as e:  # noqa: BLE001
            failures.append(e)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 7)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not failures


def test_interpreter_exit_is_clean():
    """No crash at exit with live graphs, hooks, modules and threads."""
    code = textwrap.dedent(f"""
        import importlib
        lib = importlib.import_module({LIB_NAME!r})
        x = lib.ones(3, requires_grad=True)
        y = (x * 2).exp()
        x.register_hook(lambda g: g)
        y.cycle = [y]
        z = lib.ones(2000, 2000) @ lib.ones(2000, 2000)
    """)
    p = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert p.returncode == 0 and not p.stderr, p.stderr
