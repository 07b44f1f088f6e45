"""Views, copies, indexing, and what moves elements around."""
from ... import _C
from .table import conversion

_END = 2**63 - 1


@conversion("view")
def view(c):
    if c.shapes() == c.out_shapes():
        return c.graph.op("Identity", c.x())
    return c.graph.op("Reshape", c.x(), c.size_vector(c.out_shapes(), infer=True))


def _inserted(small, large):
    """The axes of 1 that make `large` of `small`."""
    out, i = [], 0
    for axis, n in enumerate(large):
        if i < len(small) and small[i] == n and len(large) - axis >= len(small) - i and not (
                n == 1 and len(large) - axis > len(small) - i):
            i += 1
        elif n == 1:
            out.append(axis)
        else:
            return None
    return out if i == len(small) else None


@conversion("squeeze", "unsqueeze")
def ones(c):
    small, large = (c.out_shapes()[0], c.shape()) if c.op == "squeeze" else (c.shape(), c.out_shapes()[0])
    at = _inserted(small, large)
    if at is None:
        return view(c)
    kind = "Squeeze" if c.op == "squeeze" else "Unsqueeze"
    return c.graph.op(kind, c.x(), c.graph.const(tuple(at))) if at else c.graph.op("Identity", c.x())


@conversion("permute")
def permute(c):
    return c.graph.op("Transpose", c.x(), perm=c.attr("dims"))


@conversion("expand")
def expand(c):
    if c.shapes() == c.out_shapes():
        return c.graph.op("Identity", c.x())
    # 1 leaves an axis as it is; only the broadcast ones need a size.
    lead = len(c.out_shapes()[0]) - len(c.shape())
    shapes = [tuple(1 if i >= lead and s[i - lead] == n else n for i, n in enumerate(out))
              for s, out in zip(c.shapes(), c.out_shapes())]
    return c.graph.op("Expand", c.x(), c.size_vector(shapes))


def _ends(c):
    """(name of starts, name of ends) of a slice, int64 (1); sizes that follow an axis are counted from its end."""
    dim = c.attr("dim")
    starts, lengths, step = c.attrs("start"), c.attrs("length"), c.attr("step")
    sizes = [shape[dim] for shape in c.shapes()]
    stops = [start + length * step for start, length in zip(starts, lengths)]
    to_end = all(stop >= n for stop, n in zip(stops, sizes))

    def place(values, what):
        if len(set(values)) == 1:
            return c.graph.const((values[0],))
        if len({v - n for v, n in zip(values, sizes)}) == 1 and values[0] < sizes[0]:
            return c.graph.const((values[0] - sizes[0],))
        expression = c.sizes.solve(values)
        return c.sizes.node(expression) if expression is not None else c.refuse(f"its {what} follows no simple formula")

    return place(starts, "start"), c.graph.const((_END,)) if to_end else place(stops, "stop")


@conversion("slice")
def slice_(c):
    start, stop = _ends(c)
    g = c.graph
    return g.op("Slice", c.x(), start, stop, g.const((c.attr("dim"),)), g.const((c.attr("step"),)))


@conversion("select")
def select(c):
    dim, places = c.attr("dim"), c.attrs("start")
    sizes = [shape[dim] for shape in c.shapes()]
    if len({p - n for p, n in zip(places, sizes)}) == 1 and len(set(places)) > 1:
        return c.graph.op("Gather", c.x(), c.graph.const(places[0] - sizes[0]), axis=dim)
    if len(set(places)) == 1:
        return c.graph.op("Gather", c.x(), c.graph.const(places[0]), axis=dim)
    expression = c.sizes.solve(places)
    if expression is None:
        return c.refuse("its index follows no simple formula")
    at = c.graph.op("Squeeze", c.sizes.node(expression), c.graph.const((0,)))
    return c.graph.op("Gather", c.x(), at, axis=dim)


# --- Writes through views: input 0 is the base, input 1 the written view ---

@conversion("write_back_slice", "write_back_select")
def write_back(c):
    """base[:start], the new part, base[stop:], side by side."""
    g, dim = c.graph, c.attr("dim")
    axis, part = g.const((dim,)), c.x(1)
    if c.op == "write_back_select":
        part = g.op("Unsqueeze", part, axis)
    base_dtype = c.dtype(0)
    part = part if c.dtype(1) == base_dtype else g.cast(part, base_dtype)
    starts = c.attrs("start")
    lengths = [1] * len(starts) if c.op == "write_back_select" else c.attrs("length")
    ends = [s + n for s, n in zip(starts, lengths)]
    sizes = [shape[dim] for shape in c.shapes()]

    def place(values):
        expression = c.sizes.solve(values)
        return c.sizes.node(expression) if expression is not None else c.refuse("its place follows no simple formula")

    pieces = []
    if any(starts):
        pieces.append(g.op("Slice", c.x(), g.const((0,)), place(starts), axis))
    pieces.append(part)
    if any(e < n for e, n in zip(ends, sizes)):
        pieces.append(g.op("Slice", c.x(), place(ends), g.const((_END,)), axis))
    return g.op("Concat", *pieces, axis=dim) if len(pieces) > 1 else g.op("Identity", part)


@conversion("write_back_view", "write_back_squeeze", "write_back_unsqueeze")
def write_back_shape(c):
    return c.graph.op("Reshape", c.x(1), c.size_vector(c.shapes(), infer=True))


@conversion("write_back_permute")
def write_back_permute(c):
    dims = c.attr("dims")
    return c.graph.op("Transpose", c.x(1), perm=[dims.index(i) for i in range(len(dims))])


# --- Copies and new tensors ---

@conversion("copy")
def copy(c):
    return c.graph.op("Identity", c.x()) if c.dtype() == c.out_dtype() else c.graph.cast(c.x(), c.out_dtype())


@conversion("copy_into")
def copy_into(c):
    x = c.x(1, c.out_dtype())
    if c.shapes(1) == c.out_shapes():
        return c.graph.op("Identity", x)
    return c.graph.op("Expand", x, c.size_vector(c.out_shapes()))


@conversion("fill")
def fill(c):
    dtype = c.out_dtype()
    value = c.attr("value")
    value = bool(value) if dtype == "bool" else float(value) if dtype.startswith(("float", "bfloat")) else int(value)
    return c.graph.op("Expand", c.graph.const(value, dtype), c.size_vector(c.out_shapes()))


@conversion("arange")
def arange(c):
    g, dtype = c.graph, c.out_dtype()
    if c.attr("linspace"):
        return c.refuse("linspace over a dynamic axis")
    whole = not dtype.startswith(("float", "bfloat"))
    start, step = (c.attr("istart"), c.attr("istep")) if whole else (c.attr("start"), c.attr("step"))
    count = c.sizes.solve([shape[0] for shape in c.out_shapes()])
    if count is None:
        return c.refuse("its length follows no simple formula")
    kind = "int64" if whole else dtype
    n = g.op("Squeeze", c.sizes.node(count), g.const((0,)))
    if start == 0 and step == 1:
        x = g.op("Range", g.const(0), n, g.const(1))
        return x if dtype == "int64" else g.cast(x, dtype)
    x = g.cast(g.op("Range", g.const(0), n, g.const(1)), kind)
    x = g.op("Add", g.op("Mul", x, g.const(step, kind)), g.const(start, kind))
    return x if kind == dtype else g.cast(x, dtype)


# --- Indexing ---

@conversion("index_select")
def index_select(c):
    return c.graph.op("Gather", c.x(0), c.x(1), axis=c.attr("dim"))


@conversion("embedding")
def embedding(c):
    return c.graph.op("Gather", c.x(0), c.x(1), axis=0)


@conversion("gather")
def gather(c):
    return c.graph.op("GatherElements", c.x(0), c.x(1), axis=c.attr("dim"))


@conversion("scatter")
def scatter(c):
    if c.attr("reduce") not in (0, 1) or not c.attr("include_self"):
        return c.refuse("reductions other than add")
    kind = {"reduction": "add"} if c.attr("reduce") == 1 else {}
    return c.graph.op("ScatterElements", c.x(0), c.x(1), c.x(2), axis=c.attr("dim"), **kind)


@conversion("index")
def index(c):
    """x[..., i, j, ...]: the k indexed axes [dim, dim + k) give way to the indices' own."""
    g, dim, k = c.graph, c.attr("dim"), len(c.step.inputs) - 1
    if k == 1:
        return g.op("Gather", c.x(0), c.x(1), axis=dim)
    rank, own = len(c.shape(0)), len(c.shape(1))
    x = c.x(0)
    if dim:
        x = g.op("Transpose", x, perm=[*range(dim, dim + k), *range(dim), *range(dim + k, rank)])
    at = g.op("Concat", *(g.op("Unsqueeze", c.x(i), g.const((-1,))) for i in range(1, k + 1)), axis=-1)
    y = g.op("GatherND", x, at)
    return g.op("Transpose", y, perm=[*range(own, own + dim), *range(own), *range(own + dim, own + rank - k)]) if dim else y


@conversion("index_put")
def index_put(c):
    """in: x, values, k index tensors for the axes [dim, dim + k)."""
    g, dim, k = c.graph, c.attr("dim"), len(c.step.inputs) - 2
    if dim:
        return c.refuse("indices that do not start at the first axis")
    at = g.op("Concat", *(g.op("Unsqueeze", c.x(i), g.const((-1,))) for i in range(2, k + 2)), axis=-1)
    shapes = [tuple(b) + tuple(x[k:]) for b, x in zip(c.shapes(2), c.shapes(0))]
    values = c.x(1) if c.shapes(1) == shapes else g.op("Expand", c.x(1), c.size_vector(shapes))
    kind = {"reduction": "add"} if c.attr("accumulate") else {}
    return g.op("ScatterND", c.x(0), at, values, **kind)


@conversion("unfold")
def unfold(c):
    """Windows of `size` every `step` along an axis; the places in a window come last."""
    g, dim, size, step = c.graph, c.attr("dim"), c.attr("size"), c.attr("step")
    n = c.fixed((shape[dim] for shape in c.out_shapes()), "the number of windows")
    at = g.initializer("windows", _C.arange(n).unsqueeze(1) * step + _C.arange(size))
    y = g.op("Gather", c.x(), at, axis=dim)
    rank = len(c.shape()) + 1
    return g.op("Transpose", y, perm=[d for d in range(rank) if d != dim + 1] + [dim + 1])


@conversion("one_hot")
def one_hot(c):
    g = c.graph
    return g.op("OneHot", c.x(), g.const(c.attr("num_classes")), g.const((0, 1)), axis=-1)


# --- Moving ---

@conversion("cat")
def cat(c):
    parts = [c.x(i, c.out_dtype()) for i in range(len(c.step.inputs)) if c.has(i)]
    return c.graph.op("Concat", *parts, axis=c.attr("dim"))


@conversion("flip")
def flip(c):
    g = c.graph
    at = tuple(d for d in range(len(c.shape())) if c.attr("mask") >> d & 1)
    if not at:
        return g.op("Identity", c.x())
    n = len(at)
    return g.op("Slice", c.x(), g.const((-1,) * n), g.const((-2**63 + 1,) * n), g.const(at), g.const((-1,) * n))


@conversion("roll")
def roll(c):
    g, x = c.graph, c.x()
    sizes = c.shapes()
    for d in range(len(sizes[0])):
        shifts = [shift[d] for shift in c.attrs("shifts")]
        if not any(shifts):
            continue
        # Shifts lie in [0, size): a shift back by s comes as size - s.
        back = {n[d] - s for s, n in zip(shifts, sizes)}
        cut = g.const((-shifts[0],)) if len(set(shifts)) == 1 else g.const((back.pop(),)) if len(back) == 1 else c.refuse(
            "its shift follows no simple formula")
        axis = g.const((d,))
        x = g.op("Concat", g.op("Slice", x, cut, g.const((_END,)), axis), g.op("Slice", x, g.const((0,)), cut, axis), axis=d)
    return x


@conversion("repeat")
def repeat(c):
    g, lead = c.graph, len(c.out_shapes()[0]) - len(c.shape())
    x = g.op("Unsqueeze", c.x(), g.const(tuple(range(lead)))) if lead else c.x()
    return g.op("Tile", x, c.size_vector(c.attrs("repeats")))


@conversion("tril", "triu")
def triangle(c):
    g, x, dtype = c.graph, c.x(), c.dtype()
    x = g.cast(x, "int32") if dtype == "bool" else x
    y = g.op("Trilu", x, g.const(c.attr("diagonal")), upper=int(c.op == "triu"))
    return g.cast(y, "bool") if dtype == "bool" else y


@conversion("constant_pad", "mode_pad")
def pad(c):
    g, pads = c.graph, g_pads(c)
    if c.op == "mode_pad":
        mode = ("reflect", "edge", "wrap")[c.attr("mode")]
        if mode == "wrap" and c.exporter.opset < 19:
            return c.refuse("circular padding needs opset_version=19 or more")
        return g.op("Pad", c.x(), pads, mode=mode)
    real, whole = c.attr("value")
    dtype = c.dtype()
    value = real if dtype.startswith(("float", "bfloat")) else bool(whole) if dtype == "bool" else whole
    return g.op("Pad", c.x(), pads, g.const(value, dtype))


def g_pads(c):
    """The name of all pads: before each axis, then after each."""
    return c.size_vector([b + a for b, a in zip(c.attrs("before"), c.attrs("after"))])


