# Loops over the op table: every property of an op that does not depend on which op it is.
import itertools
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from finite_difference import check_first_order, check_second_order, outputs_of, weights_like
from op_table import ROWS
from op_table.core import arrays_of, fill_in, materialise, result_dtype, specs_of, tensors_of, with_shapes
from under_test import FLOAT, IS_FIRESEED, dtype_name, lib, raises_with, resolve, tensor, to_numpy

# (relative, absolute) error allowed a dtype, for values of order one.
TOLERANCE = {
    "float64": (1e-12, 1e-12),
    "float32": (4e-6, 4e-6),
    "float16": (2e-3, 1e-3),
    "bfloat16": (1.6e-2, 8e-3),
}
POINTWISE = {
    "float64": (4e-15, 1e-15),
    "float32": (1e-6, 2e-7),
    "float16": (1.2e-3, 1e-4),
    "bfloat16": (8.5e-3, 1e-3),
}


def rows(condition=lambda r: True):
    """Parametrise over the rows; ids are family/name."""
    chosen = [r for r in ROWS if condition(r)]
    seen, ids = {}, []
    for r in chosen:
        seen[r.name] = seen.get(r.name, 0) + 1
        ids.append(f"{r.family}/{r.name}" + (f"#{seen[r.name]}" if seen[r.name] > 1 else ""))
    return pytest.mark.parametrize("row", chosen, ids=ids)


def flat(result):
    """Results as a flat list, tensors and numbers."""
    if isinstance(result, (tuple, list)):
        return [x for r in result for x in flat(r)]
    return [result]


def rules(row, count):
    return row.out if isinstance(row.out, tuple) else (row.out,) * count


def assert_values(got, want, tolerance, tol, what):
    """got (tensor) against want (numpy) within (relative, absolute) * tol; NaN equals NaN."""
    want = np.asarray(want)
    have = to_numpy(got)
    assert have.shape == want.shape, f"{what}: shape {have.shape}, expected {want.shape}"
    if dtype_name(got) not in FLOAT:
        if want.dtype.kind == "f":
            want = want.astype(np.int64)
        np.testing.assert_array_equal(have, want.astype(have.dtype), err_msg=what)
        return
    rtol, atol = (tolerance[dtype_name(got)][k] * tol for k in (0, 1))
    want = want.astype(np.float64)
    finite = np.abs(want[np.isfinite(want)])
    scale = float(finite.max()) if finite.size else 0.0
    limit = np.finfo(np.float16 if dtype_name(got) == "float16" else np.float32).max
    if dtype_name(got) != "float64":  # what overflows in the dtype is infinite in the reference too
        want = np.where(np.abs(want) > limit, np.sign(want) * np.inf, want)
    np.testing.assert_allclose(
        have.astype(np.float64), want, rtol=rtol, atol=atol * max(1.0, scale), equal_nan=True, err_msg=what
    )


def call_reference(row, sample, made):
    if row.out == "float":  # numpy would compute exp(bool) in float16
        made = [
            (s, d, a.astype(np.float64) if a.dtype == bool and s.kind == "float" else a) for s, d, a in made
        ]
    args, kwargs = arrays_of(sample, made)
    with np.errstate(all="ignore"):
        return row.ref(*args, **kwargs)


def compare(row, sample, made, result, dtype, what):
    """Every result of a call against the reference: number, shapes, dtypes, values."""
    got, want = flat(result), flat(call_reference(row, sample, made))
    assert len(got) == len(want), f"{what}: {len(got)} results, expected {len(want)}"
    for k, (y, w, rule) in enumerate(zip(got, want, rules(row, len(got)))):
        name = f"{what} result {k}"
        if not isinstance(y, lib.Tensor):
            assert y == w, f"{name}: {y!r}, expected {w!r}"
            continue
        expected = result_dtype(rule, dtype, made)
        assert dtype_name(y) == expected, f"{name}: dtype {dtype_name(y)}, expected {expected}"
        assert_values(y, w, POINTWISE if row.pointwise else TOLERANCE, row.tol, name)


def bits(result):
    """The bytes of the results, for exact comparison."""
    return b"".join(to_numpy(y).tobytes() for y in flat(result) if isinstance(y, lib.Tensor))


@rows(lambda r: r.ref is not None)
def test_forward(row):
    """Values, shapes and dtypes of every sample in every dtype; inputs are left alone."""
    f = resolve(row.name)
    for dtype, sample in itertools.product(row.dtypes, row.samples):
        made = materialise(sample, dtype)
        args, kwargs, tensors = tensors_of(sample, made)
        what = f"{row.name}{sample!r} {dtype}"
        compare(row, sample, made, f(*args, **kwargs), dtype, what)
        for x, (_, _, a) in [] if row.writes else zip(tensors, made):
            assert_values(x, a, POINTWISE, 0, f"{what}: an input was changed;")


@rows(lambda r: len(r.paths) > 1)
def test_forms(row):
    """Every other path and the method give the same as the main one, bit for bit."""
    for path in row.paths[1:]:
        f, g = resolve(row.name), resolve(path)
        for sample in row.samples:
            made = materialise(sample, row.dtypes[0])
            args, kwargs, _ = tensors_of(sample, made)
            assert bits(f(*args, **kwargs)) == bits(g(*args, **kwargs)), (
                f"{path}{sample!r} differs from {row.name}"
            )


@rows(lambda r: r.inplace)
def test_inplace(row):
    """x.op_(...) gives the same values, in x, returns x and counts a version; strided x included."""
    f, g = resolve(row.name), resolve(f"Tensor.{row.short}_")
    dtypes = [d for d in row.dtypes if not (row.out == "float" and d not in FLOAT)]
    for dtype, sample in itertools.product(dtypes, row.samples):
        made = materialise(sample, dtype)
        args, kwargs, tensors = tensors_of(sample, made)
        want = f(*args, **kwargs)
        if tuple(want.shape) != tuple(args[0].shape) or dtype_name(want) != dtype_name(args[0]):
            continue  # broadcast beyond x, or another dtype: not for in-place
        x = args[0]
        version = x._version
        result = g(x, *args[1:], **kwargs)
        what = f"{row.short}_{sample!r} {dtype}"
        assert result is x, f"{what} does not return its tensor"
        assert row.view or x._version > version, f"{what} does not count a version"
        assert_values(x, to_numpy(want), POINTWISE, 1.0, what)
        if x.dim() >= 2:  # the same into a transposed tensor
            args, kwargs, _ = tensors_of(sample, made)
            base = lib.zeros(tuple(reversed(x.shape)), dtype=x.dtype)
            strided = base.permute(*reversed(range(x.dim())))
            strided.copy_(args[0])
            g(strided, *args[1:], **kwargs)
            assert_values(strided, to_numpy(want), POINTWISE, 1.0, what + " on a transposed tensor")


@rows(lambda r: r.inplace and r.grad and "float64" in r.dtypes)
def test_inplace_gradient(row):
    """Gradient through the in-place form equals the gradient of the plain one."""
    f, g = resolve(row.name), resolve(f"Tensor.{row.short}_")
    sample = next((s for s in row.samples if all(len(p.shape) >= 1 for p in specs_of(s)[:1])), row.samples[0])
    made = materialise(sample, "float64")
    grads = []
    for inplace in (False, True):
        args, kwargs, tensors = tensors_of(sample, made, requires_grad=True)
        x = args[0]
        start = x.clone()
        y = g(start, *args[1:], **kwargs) if inplace else f(start, *args[1:], **kwargs)
        (y * lib.arange(y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
        grads.append([None if p.grad is None else to_numpy(p.grad) for p in tensors])
    for a, b in zip(*grads):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12, err_msg=row.name)


def layouts(x):
    """The same values as x in other memory layouts: transposed, stepped, offset."""
    if x.dim() >= 2:
        yield (
            "transposed",
            x.permute(*reversed(range(x.dim()))).contiguous().permute(*reversed(range(x.dim()))),
        )
    if x.dim() >= 1 and x.numel():
        wide = lib.stack([x, x], dim=x.dim())
        yield "every second element", wide.select(x.dim(), 0)
        first = lib.cat([x, x], dim=0)
        yield "offset", first[x.shape[0] :]


@rows(lambda r: r.layouts)
def test_layouts(row):
    """Non-contiguous inputs give what contiguous ones give, gradients included."""
    f = resolve(row.name)
    dtype = "float64" if "float64" in row.dtypes else row.dtypes[0]
    for sample in row.samples:
        made = materialise(sample, dtype)
        if not made:
            continue
        args, kwargs, plain = tensors_of(sample, made)
        want = [to_numpy(y) if isinstance(y, lib.Tensor) else y for y in flat(f(*args, **kwargs))]
        for k in range(3):
            changed = [dict(enumerate(v for _, v in layouts(x))).get(k, x) for x in plain]
            if all(a is b for a, b in zip(changed, plain)):
                continue
            args, kwargs = fill_in(sample, changed)
            for y, w in zip(flat(f(*args, **kwargs)), want):
                if isinstance(y, lib.Tensor):
                    assert_values(y, w, TOLERANCE, row.tol, f"{row.name}{sample!r} layout {k}")


@rows(lambda r: r.pointwise and r.layouts)
def test_expanded(row):
    """Inputs made by expand (stride 0)."""
    f = resolve(row.name)
    for dtype in row.dtypes[:2]:
        sample = with_shapes(row.samples[-1], [(3, 1)] * len(specs_of(row.samples[-1])))
        made = materialise(sample, dtype)
        args, kwargs, plain = tensors_of(sample, made)
        args, kwargs = fill_in(sample, [x.expand(2, 3, 4) for x in plain])
        made = [(s, d, np.broadcast_to(a, (2, 3, 4)).copy()) for s, d, a in made]
        compare(row, sample, made, f(*args, **kwargs), dtype, f"{row.name} expanded")


@rows(lambda r: r.pointwise)
def test_empty(row):
    """Empty tensors give empty results of the right shape and dtype."""
    f = resolve(row.name)
    for dtype, shape in itertools.product(row.dtypes, [(0,), (2, 0, 3)]):
        sample = with_shapes(row.samples[-1], [shape] * len(specs_of(row.samples[-1])))
        made = materialise(sample, dtype)
        args, kwargs, _ = tensors_of(sample, made)
        compare(row, sample, made, f(*args, **kwargs), dtype, f"{row.name} of {shape}")


@rows(lambda r: r.pointwise and r.nan and r.ref is not None)
def test_special_values(row):
    """NaN, infinities and zeros, in every combination of the inputs; vector loop and tail."""
    f = resolve(row.name)
    for dtype in [d for d in row.dtypes if d in FLOAT]:
        values = np.array(row.special, np.float64)
        count = len(specs_of(row.samples[-1]))
        grid = [a.reshape(-1) for a in np.meshgrid(*[values] * count)]
        grid = [np.resize(a, 37 + a.size) for a in grid]
        sample = with_shapes(row.samples[-1], [grid[0].shape] * count)
        made = [
            (s, s.dtype or dtype, a if (s.dtype or dtype) in FLOAT else v)
            for (s, _, v), a in zip(materialise(sample, dtype), grid)
        ]
        args, kwargs, _ = tensors_of(sample, made)
        compare(
            row, sample, made, f(*args, **kwargs), dtype, f"{row.name} of special values, {dtype}\n{grid}\n"
        )


def differentiable(sample, made):
    """Positions of the specs that are differentiated, and a function of those tensors alone."""
    return [k for k, (s, d, _) in enumerate(made) if s.grad and d in FLOAT]


def function_of(row, sample, made):
    """(f, arrays): f takes the differentiable tensors only."""
    op = resolve(row.name)
    where = differentiable(sample, made)
    fixed = [tensor(a, d) for _, d, a in made]

    def f(*inputs):
        values = list(fixed)
        for k, x in zip(where, inputs):
            values[k] = x
        args, kwargs = fill_in(sample, values)
        return op(*args, **kwargs)

    return f, [made[k][2] for k in where]


def small(sample):
    return sum(int(np.prod(s.shape)) for s in specs_of(sample)) <= 160


@rows(lambda r: r.grad >= 1 and "float64" in r.dtypes)
def test_gradient(row):
    """First derivatives against central differences, every element, every small sample."""
    for sample in filter(small, row.samples):
        made = materialise(sample, "float64")
        f, arrays = function_of(row, sample, made)
        if not arrays or any(a.size == 0 for a in arrays):
            continue
        try:
            check_first_order(f, arrays, tol=row.gtol)
        except AssertionError as e:
            raise AssertionError(f"{row.name}{sample!r}: {e}") from None


@rows(lambda r: r.grad >= 2 and "float64" in r.dtypes)
def test_second_gradient(row):
    """Second derivatives against central differences of the first; with create_graph as without."""
    chosen = [s for s in row.samples if small(s) and specs_of(s)]
    for sample in chosen[:4] if len(chosen) > 4 else chosen:
        made = materialise(sample, "float64")
        f, arrays = function_of(row, sample, made)
        if not arrays or any(a.size == 0 for a in arrays):
            continue
        try:
            check_second_order(f, arrays, tol=row.gtol)
        except AssertionError as e:
            raise AssertionError(f"{row.name}{sample!r}: {e}") from None


@rows(lambda r: r.grad >= 1 and set(r.dtypes) & {"float32", "float16", "bfloat16"})
def test_gradient_dtypes(row):
    """Gradients in narrow dtypes: close to float64's, of the input's dtype; create_graph changes nothing."""
    for dtype in [d for d in row.dtypes if d in ("float32", "float16", "bfloat16")]:
        for sample in row.samples[-2:]:
            made = materialise(sample, dtype)
            if not differentiable(sample, made) or any(a.size == 0 for _, _, a in made):
                continue
            grads = []
            for name, graph in ((dtype, False), (dtype, True), ("float64", False)):
                wide = [(s, "float64" if d == dtype and s.kind == "float" else d, a) for s, d, a in made]
                args, kwargs, tensors = tensors_of(
                    sample, made if name == dtype else wide, requires_grad=True
                )
                inputs = [x for x in tensors if x.requires_grad]
                outputs = [y for y in outputs_of(resolve(row.name)(*args, **kwargs)) if y.requires_grad]
                weights = [
                    w.to(y.dtype) for w, y in zip(weights_like(outputs, np.random.default_rng(3)), outputs)
                ]
                got = lib.autograd.grad(outputs, inputs, weights, create_graph=graph, allow_unused=True)
                for x, g in zip(inputs, got):
                    assert g is None or g.dtype == x.dtype, (
                        f"{row.name}: gradient {g.dtype} for an input {x.dtype}"
                    )
                grads.append([None if g is None else to_numpy(g).astype(np.float64) for g in got])
            rtol, atol = TOLERANCE[dtype]
            for k in range(len(inputs)):
                if grads[0][k] is None:
                    continue
                scale = max(1.0, float(np.abs(grads[2][k]).max()))
                what = f"{row.name}{sample!r} {dtype} gradient {k}"
                np.testing.assert_allclose(
                    grads[0][k],
                    grads[2][k],
                    rtol=rtol * row.gtol * 4,
                    atol=4 * atol * row.gtol * scale,
                    err_msg=what,
                )
                np.testing.assert_allclose(
                    grads[1][k],
                    grads[0][k],
                    rtol=rtol * row.gtol * 4,
                    atol=4 * atol * row.gtol * scale,
                    err_msg=what + ": differentiable backward and fused backward",
                )


@rows(lambda r: r.grad == 0)
def test_not_differentiable(row):
    """Integer and bool results do not require grad."""
    for sample in row.samples[:2]:
        made = materialise(sample, row.dtypes[0])
        args, kwargs, tensors = tensors_of(sample, made, requires_grad=True)
        for y in flat(resolve(row.name)(*args, **kwargs)):
            assert not (isinstance(y, lib.Tensor) and not y.is_floating_point() and y.requires_grad), (
                f"{row.name}: a result requires grad"
            )


@rows(lambda r: r.view)
def test_view(row):
    """The result is a view: writing through it changes the input, and both share a version counter."""
    for sample in row.samples:
        made = materialise(sample, row.dtypes[0])
        args, kwargs, tensors = tensors_of(sample, made)
        for y in flat(resolve(row.name)(*args, **kwargs)):
            if y.numel() == 0:
                continue
            version = tensors[0]._version
            with lib.no_grad():
                y.fill_(77)
            assert (to_numpy(tensors[0]) == 77).sum() >= 1, f"{row.name}{sample!r} is not a view"
            assert tensors[0]._version > version, f"{row.name}: the base's version does not move"


ERRORS = [(r, e) for r in ROWS for e in r.errors]


@pytest.mark.parametrize(
    "row, bad", ERRORS, ids=[f"{r.family}/{r.name}-{k}" for k, (r, _) in enumerate(ERRORS)]
)
def test_errors(row, bad):
    """Bad input raises PyTorch's exception type, and the text names what it should."""
    made = materialise(bad.sample, bad.dtype)
    args, kwargs, _ = tensors_of(bad.sample, made)
    f = resolve(row.name)
    with raises_with(bad.error, *bad.words):
        f(*args, **kwargs)


@rows(lambda r: r.big is not None)
def test_threads(row):
    """Forward and backward give the same bits with 1, 2 and 3 threads."""
    seen = {}
    for threads in (1, 2, 3):
        lib.set_num_threads(threads)
        dtype = "float32" if "float32" in row.dtypes else row.dtypes[0]
        made = materialise(row.big, dtype)
        args, kwargs, tensors = tensors_of(row.big, made, requires_grad=row.grad > 0 and dtype in FLOAT)
        result = resolve(row.name)(*args, **kwargs)
        value = [bits(result)]
        outputs = [y for y in outputs_of(result) if y.requires_grad]
        if outputs:
            inputs = [x for x in tensors if x.requires_grad]
            weights = [lib.ones_like(y) * 0.5 for y in outputs]
            value += [
                b"" if g is None else bits(g)
                for g in lib.autograd.grad(outputs, inputs, weights, allow_unused=True)
            ]
        seen[threads] = value
    if IS_FIRESEED:
        assert seen[1] == seen[2] == seen[3], (
            f"{row.name}{row.big!r}: the bits depend on the number of threads"
        )


@rows(lambda r: r.big is not None and r.ref is not None)
def test_large(row):
    """The large sample against the reference in float32: vector loops, chunks and threads."""
    dtype = "float32" if "float32" in row.dtypes else row.dtypes[0]
    made = materialise(row.big, dtype)
    args, kwargs, _ = tensors_of(row.big, made)
    compare(
        replace_tol(row, 8.0), row.big, made, resolve(row.name)(*args, **kwargs), dtype, f"{row.name} large"
    )


def replace_tol(row, factor):
    r = replace(row, tol=row.tol * (1.0 if row.pointwise else factor))
    r._family = row.family
    return r


# Names of cpp/ops.def that no row can call by itself, with the reason.
RANDOM = "uniform normal log_normal random_int bernoulli bernoulli_tensor exponential geometric cauchy"
OPTIM = "sgd adam rmsprop adagrad adadelta lion nadam radam adamax asgd rprop ftrl"
INTERNAL = dict.fromkeys(
    RANDOM.split() + ["dropout", "randperm", "multinomial"], "random: tests/test_random.py"
)
SAME = {  # forms that the rows of another name reach: scalar operands, keyword arguments, other reductions
    "median_dim": "median",
    "pow_scalar": "pow",
    "add_scalar": "add",
    "rsub_scalar": "rsub",
    "mul_scalar": "mul",
    "div_scalar": "div",
    "rdiv_scalar": "div",
    "lerp_scalar": "lerp",
    "clamp_tensor": "clamp",
    "div_trunc": "div",
    "gelu_tanh": "gelu",
    "log_sigmoid": "logsigmoid",
    "bce_loss": "binary_cross_entropy",
    "kl_div_log": "kl_div",
    "bce_with_logits_loss": "binary_cross_entropy_with_logits",
    "conv": "conv2d",
}
INTERNAL |= {name: f"a form of {of}" for name, of in SAME.items()}
INTERNAL |= {name + "_step": "optimizer steps: tests/test_optim.py" for name in OPTIM.split()}
INTERNAL |= dict.fromkeys(
    ["foreach_norm", "foreach_scale", "foreach_clamp"], "nn.utils.clip_grad_*: tests/test_optim.py"
)


def ops_def_names():
    path = os.path.join(os.path.dirname(__file__), "..", "cpp", "ops.def")
    if not os.path.exists(path):
        pytest.skip("no source tree")
    with open(path) as f:
        text = "\n".join(line.split("//")[0] for line in f)
    return re.findall(r"^\s*FS_\w+\((\w+)", text, re.MULTILINE)


@pytest.mark.skipif(not IS_FIRESEED, reason="about fireseed's op list")
def test_every_op_has_a_row():
    """A name of cpp/ops.def is a row's name, in a row's `covers`, or in INTERNAL with a reason."""
    covered = {r.short for r in ROWS} | {c for r in ROWS for c in r.covers} | set(INTERNAL)
    covered |= {p.rsplit(".", 1)[-1] for r in ROWS for p in r.paths}
    names = ops_def_names()
    missing = [n for n in names if n not in covered and not n.endswith("_backward")]
    backward = [
        n
        for n in names
        if n.endswith("_backward") and n not in covered and n.removesuffix("_backward") not in covered
    ]
    assert not missing + backward, f"ops without a row in tests/op_table: {' '.join(missing + backward)}"


def test_rows_are_sound():
    """Every path resolves and every row has samples: a typing error in the table shows here first."""
    absent = []
    for r in ROWS:
        assert r.samples, f"{r.name} has no samples"
        for path in r.paths + ([f"Tensor.{r.short}_"] if r.inplace else []):
            try:
                resolve(path)
            except AttributeError:
                absent.append(path)
    assert not absent, f"{len(absent)} functions are missing: {' '.join(absent)}"
