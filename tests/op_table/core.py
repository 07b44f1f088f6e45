# Row, Sample and the tensor specs of the op table, and how they become tensors or numpy arrays.
import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from under_test import ALL, FLOAT, INT, NUM, dtype_name, lib, tensor

__all__ = [
    "ALL",
    "FLOAT",
    "INT",
    "NUM",
    "ROWS",
    "Row",
    "S",
    "E",
    "t",
    "i",
    "b",
    "row",
    "unary",
    "binary",
    "Spec",
    "materialise",
    "arrays_of",
    "tensors_of",
    "specs_of",
    "map_specs",
]

ROWS = []


@dataclass(frozen=True)
class Spec:
    """A tensor to be made. kind: "float" takes the dtype under test, "int" is int64, "bool" is bool."""

    shape: tuple
    kind: str = "float"
    lo: float = -2.0
    hi: float = 2.0
    ilo: int = -5  # range for integer dtypes (from 0 for uint8)
    ihi: int = 5
    away: tuple = ()  # values kept at a distance of 0.05: kinks
    distinct: bool = False  # no two equal values
    grad: bool = True
    fill: object = None  # explicit values
    dtype: str = None  # fixed dtype instead of the one under test

    def array(self, rng, dtype):
        """Values as numpy: float64, int64 or bool, exactly representable in `dtype`."""
        size = int(np.prod(self.shape))
        kind = "float" if dtype in FLOAT else "bool" if dtype == "bool" else "int"
        if self.fill is not None:
            a = np.array(self.fill, dtype={"float": np.float64, "int": np.int64, "bool": bool}[kind]).reshape(
                self.shape
            )
        elif kind == "bool":
            a = rng.random(self.shape) < 0.5
        elif kind == "int":
            lo, hi = (self.ilo, self.ihi)
            if dtype == "uint8" and lo < 0:
                lo, hi = 0, hi - lo
            if self.distinct:
                a = (rng.permutation(size) - (0 if dtype == "uint8" else size // 2)).reshape(self.shape)
            else:
                a = rng.integers(lo, hi, self.shape) if hi > lo else np.full(self.shape, lo)
        elif self.distinct:
            a = (self.lo + (rng.permutation(size) + 0.5) / max(size, 1) * (self.hi - self.lo)).reshape(
                self.shape
            )
        else:
            a = rng.uniform(self.lo, self.hi, self.shape)
        if kind == "float":
            for k in self.away:
                a = np.where(np.abs(a - k) < 0.05, k + np.where(a >= k, 0.05, -0.05) + (a - k), a)
            a = round_to(a, dtype)
        return a


def round_to(a, dtype):
    """a rounded to the values that `dtype` can hold, as float64."""
    if dtype == "bfloat16":
        bits = np.asarray(a, np.float32).view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return (
            np.where(np.isnan(a), np.nan, bits.astype(np.uint32).view(np.float32))
            .astype(np.float64)
            .reshape(np.shape(a))
        )
    if dtype == "float64":
        return np.asarray(a, np.float64)
    return np.asarray(a).astype(dtype).astype(np.float64)


def t(*shape, **options):
    """A float tensor of the dtype under test, uniform in [-2, 2)."""
    return Spec(tuple(shape), **options)


def i(*shape, lo=0, hi=3, fill=None, dtype="int64"):
    """Integers in [lo, hi), int64: indices and classes."""
    return Spec(
        tuple(np.shape(fill)) if fill is not None else tuple(shape),
        "int",
        ilo=lo,
        ihi=hi,
        fill=fill,
        dtype=dtype,
        grad=False,
    )


def b(*shape, fill=None):
    """A mask."""
    return Spec(
        tuple(np.shape(fill)) if fill is not None else tuple(shape),
        "bool",
        fill=fill,
        dtype="bool",
        grad=False,
    )


class S:
    """One call: arguments, some of them specs (also inside lists and tuples)."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def __repr__(self):
        def show(v):
            if isinstance(v, Spec):
                return f"{v.kind}{list(v.shape)}"
            if isinstance(v, (list, tuple)):
                return "[" + ", ".join(map(show, v)) + "]"
            return repr(v)

        return (
            "("
            + ", ".join([show(a) for a in self.args] + [f"{k}={show(v)}" for k, v in self.kwargs.items()])
            + ")"
        )


class E:
    """A call that must fail with `error`; the text must contain `words` (a string or several)."""

    def __init__(self, error, words, *args, dtype="float32", **kwargs):
        self.error, self.words, self.dtype = (
            error,
            (words,) if isinstance(words, str) else tuple(words),
            dtype,
        )
        self.sample = S(*args, **kwargs)

    def __repr__(self):
        return f"{self.error.__name__}{self.sample!r}"


@dataclass
class Row:
    """One op. See the package's first lines for the fields everybody uses."""

    name: str
    ref: object  # numpy function, same arguments; None: no reference (shape/statistics tests only)
    samples: list
    dtypes: tuple = FLOAT
    out: object = "same"  # result dtype rule, or a tuple of rules
    also: tuple = ()  # other paths with the same arguments
    method: bool = False  # Tensor.<name>
    inplace: bool = False  # Tensor.<name>_ writes the first tensor
    grad: int = 2  # highest derivative checked
    errors: list = field(default_factory=list)
    tol: float = 1.0  # multiplies every tolerance
    pointwise: int = 0  # number of broadcast tensor inputs: the harness makes its own edge samples
    nan: bool = True  # pointwise: also run on NaN, infinities and zeros
    special: tuple = (np.nan, np.inf, -np.inf, 0.0, -0.0)  # what "nan" feeds
    view: bool = False  # the result shares the input's memory
    big: object = None  # a sample large enough to be threaded
    layouts: bool = True  # check non-contiguous inputs
    writes: bool = False  # an in-place op under its own name: changes its first input
    covers: tuple = ()  # further names of cpp/ops.def exercised
    gtol: float = 1.0  # multiplies the finite-difference tolerance
    why: str = ""  # reason for switching something off

    @property
    def short(self):
        return self.name.rsplit(".", 1)[-1]

    @property
    def paths(self):
        """Every out-of-place form, the main one first."""
        extra = [f"Tensor.{self.short}"] if self.method else []
        return list(dict.fromkeys([self.name, *self.also, *extra]))

    @property
    def family(self):
        return self._family

    def __post_init__(self):
        if isinstance(self.also, str):
            self.also = tuple(self.also.split())
        if isinstance(self.covers, str):
            self.covers = tuple(self.covers.split())


def row(name, ref, samples, **fields):
    """Adds a row to the table."""
    import sys

    frame = sys._getframe(1)
    while frame.f_globals["__name__"] == __name__:
        frame = frame.f_back
    r = Row(name, ref, samples, **fields)
    r._family = frame.f_globals["__name__"].rsplit(".", 1)[-1]
    ROWS.append(r)
    return r


def unary(name, ref, lo=-2.0, hi=2.0, kinks=(), args=(), kwargs=None, method=None, **fields):
    """A row for a pointwise op of one tensor: samples are made here; args/kwargs are passed on."""
    kwargs = kwargs or {}
    ints = {k: fields.pop(k) for k in ("ilo", "ihi") if k in fields}

    def spec(*shape):
        return t(*shape, lo=lo, hi=hi, away=tuple(kinks), **ints)

    samples = [S(spec(*s), *args, **kwargs) for s in [(), (7,), (3, 5), (2, 3, 4)]]
    fields.setdefault("big", S(spec(301, 402), *args, **kwargs))
    if method is None:
        method = not name.startswith("nn.functional.")
    return row(name, ref, samples, method=method, pointwise=1, **fields)


def binary(name, ref, a=None, b=None, kwargs=None, method=True, **fields):
    """A row for a pointwise op of two tensors that broadcast: a and b are the options of the two specs."""
    a, b, kwargs = a or {}, b or {}, kwargs or {}
    shapes = [
        ((), ()),
        ((7,), (7,)),
        ((3, 5), (3, 5)),
        ((3, 5), (5,)),
        ((2, 1, 4), (3, 1)),
        ((), (4,)),
        ((3, 1), (1, 4)),
    ]
    samples = [S(t(*s, **a), t(*u, **b), **kwargs) for s, u in shapes]
    fields.setdefault("big", S(t(301, 402, **a), t(402, **b), **kwargs))
    dtypes = fields.get("dtypes", FLOAT)
    dtype = "float32" if "float32" in dtypes else dtypes[0]
    fields.setdefault("errors", []).append(
        E(RuntimeError, (name.rsplit(".", 1)[-1], "3", "4"), t(2, 3), t(2, 4), dtype=dtype, **kwargs)
    )
    return row(name, ref, samples, method=method, pointwise=2, **fields)


# ---------------------------------------------------------------- from specs to values


def map_specs(f, value):
    """value with f applied to every spec, through lists, tuples and dicts."""
    if isinstance(value, Spec):
        return f(value)
    if isinstance(value, (list, tuple)):
        return type(value)(map_specs(f, v) for v in value)
    if isinstance(value, dict):
        return {k: map_specs(f, v) for k, v in value.items()}
    return value


def specs_of(sample):
    found = []
    map_specs(lambda s: found.append(s), [list(sample.args), sample.kwargs])
    return found


def materialise(sample, dtype, salt=""):
    """[(spec, dtype name, numpy array)] for every spec of the sample, in order; the same each time."""
    rng = np.random.default_rng(zlib.crc32((repr(sample) + salt).encode()))
    return [(s, s.dtype or dtype, s.array(rng, s.dtype or dtype)) for s in specs_of(sample)]


def fill_in(sample, values):
    """(args, kwargs) with the specs replaced by values, in order."""
    queue = iter(values)
    args = map_specs(lambda s: next(queue), list(sample.args))
    return args, map_specs(lambda s: next(queue), sample.kwargs)


def arrays_of(sample, made):
    """Arguments for the reference."""
    return fill_in(sample, [a.copy() for _, _, a in made])


def tensors_of(sample, made, requires_grad=False):
    """Arguments for the library, and the list of tensors in order."""
    tensors = [tensor(a, d) for _, d, a in made]
    if requires_grad:
        tensors = [x.requires_grad_() if s.grad and d in FLOAT else x for x, (s, d, _) in zip(tensors, made)]
    args, kwargs = fill_in(sample, tensors)
    return args, kwargs, tensors


def result_dtype(rule, dtype, made):
    """The dtype a result must have under a rule of Row.out."""
    if rule == "same":
        names = {d for s, d, a in made if s.kind == "float"} or {made[0][1]}
        if len(names) == 1:
            return names.pop()
        full = [d for s, d, a in made if s.kind == "float"]
        out = getattr(lib, full[0])
        for d in full[1:]:
            out = lib.promote_types(out, getattr(lib, d))
        return dtype_name(out)
    if rule == "float":
        return dtype if dtype in FLOAT else "float32"
    if rule == "sum":
        return dtype if dtype in FLOAT else "int64"
    return rule


def with_shapes(sample, shapes):
    """The sample with its specs' shapes replaced."""
    queue = iter(shapes)
    out = S(*map_specs(lambda s: replace(s, shape=next(queue)), list(sample.args)))
    out.kwargs = map_specs(lambda s: replace(s, shape=next(queue)), sample.kwargs)
    return out
