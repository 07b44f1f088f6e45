"""Reductions, softmax, sorting."""
from .table import conversion


def axes(c):
    """The reduced axes of input 0: a list, never empty but for a tensor without axes."""
    rank, mask = len(c.shape()), c.attr("mask")
    return list(range(rank)) if mask == -1 else [d for d in range(rank) if mask >> d & 1]


def reduce(c, kind, x, keepdim=None):
    """A node of the Reduce family over the call's axes."""
    keep = c.attr("keepdim") if keepdim is None else keepdim
    return c.graph.op(kind, x, c.graph.const(tuple(axes(c))), keepdims=int(keep)) if axes(c) else x


@conversion("sum", "mean", "prod", "amax", "amin", "logsumexp")
def plain(c):
    kind = {"sum": "ReduceSum", "mean": "ReduceMean", "prod": "ReduceProd", "amax": "ReduceMax", "amin": "ReduceMin",
            "logsumexp": "ReduceLogSumExp"}[c.op]
    return reduce(c, kind, c.x(0, c.out_dtype()))


@conversion("any", "all")
def any_all(c):
    bits = c.graph.cast(c.x(0, "bool"), "int32")
    return c.graph.cast(reduce(c, "ReduceMax" if c.op == "any" else "ReduceMin", bits), "bool")


@conversion("argmax", "argmin")
def arg(c):
    g, kind = c.graph, "ArgMax" if c.op == "argmax" else "ArgMin"
    if c.attr("mask") == -1:
        flat = g.op(kind, g.op("Reshape", c.x(), g.const((-1,))), axis=0, keepdims=0)
        return g.op("Reshape", flat, g.const((1,) * len(c.shape()))) if c.attr("keepdim") else flat
    return g.op(kind, c.x(), axis=axes(c)[0], keepdims=int(c.attr("keepdim")))


@conversion("max", "min")
def extreme(c):
    kind = "Max" if c.op == "max" else "Min"
    value = reduce(c, "Reduce" + kind, c.x())
    if not c.wanted(1):
        return [value, None]
    return [value, c.graph.op("Arg" + kind, c.x(), axis=axes(c)[0], keepdims=int(c.attr("keepdim")))]


@conversion("var", "std", "var_mean", "std_mean")
def variance(c):
    """sum((x - mean)^2) / max(0, n - correction)."""
    g, x = c.graph, c.x()
    mean = reduce(c, "ReduceMean", x, True)
    d = g.op("Sub", x, mean)
    total = reduce(c, "ReduceSum", g.op("Mul", d, d))
    n = g.op("ReduceProd", g.op("Gather", g.op("Shape", x), g.const(tuple(axes(c)))), keepdims=0)
    n = g.op("Max", g.op("Sub", g.cast(n, c.dtype()), c.number("correction", c.dtype())), g.const(0.0, c.dtype()))
    y = g.op("Div", total, n)
    y = g.op("Sqrt", y) if c.op.startswith("std") else y
    return [y, reduce(c, "ReduceMean", x)] if c.op.endswith("mean") else y


@conversion("norm")
def norm(c):
    g, p = c.graph, c.attr("p")
    if p in (1, 2):
        return reduce(c, "ReduceL1" if p == 1 else "ReduceL2", c.x())
    size = g.op("Abs", c.x())
    if p == float("inf") or p == -float("inf"):
        return reduce(c, "ReduceMax" if p > 0 else "ReduceMin", size)
    if p == 0:
        return c.refuse("the 0-norm")
    return g.op("Pow", reduce(c, "ReduceSum", g.op("Pow", size, g.const(p, c.dtype()))), g.const(1 / p, c.dtype()))


@conversion("cumsum")
def cumsum(c):
    return c.graph.op("CumSum", c.x(), c.graph.const(c.attr("dim")))


@conversion("softmax", "log_softmax")
def softmax(c):
    return c.graph.op("Softmax" if c.op == "softmax" else "LogSoftmax", c.x(), axis=c.attr("dim"))


@conversion("topk")
def topk(c):
    k = c.graph.const((c.attr("k"),))
    return c.graph.op("TopK", c.x(), k, outputs=2, axis=c.attr("dim"), largest=int(c.attr("largest")),
                      sorted=int(c.attr("sorted")))


@conversion("sort")
def sort(c):
    dim = c.attr("dim")
    k = c.graph.op("Shape", c.x(), start=dim, end=dim + 1)
    return c.graph.op("TopK", c.x(), k, outputs=2, axis=dim, largest=int(c.attr("descending")), sorted=1)
