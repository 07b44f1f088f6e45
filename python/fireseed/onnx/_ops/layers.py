"""Layers: products, convolutions, pooling, normalisation, resampling, recurrent layers, attention."""
from ... import _C
from .table import conversion

# --- Products ---


@conversion("matmul")
def matmul(c):
    return c.graph.op("MatMul", c.x(0), c.x(1))


@conversion("linear")
def linear(c):
    """x (…, in) @ weight (out, in) transposed + bias (out)."""
    g = c.graph
    if len(c.shape()) == 2:
        return g.op("Gemm", c.x(0), c.x(1), c.x(2), transB=1)
    y = g.op("MatMul", c.x(0), g.op("Transpose", c.x(1), perm=[1, 0]))
    return g.op("Add", y, c.x(2)) if c.has(2) else y


@conversion("addmm")
def addmm(c):
    g, alpha, beta = c.graph, c.attr("alpha"), c.attr("beta")
    y = g.op("MatMul", c.x(1), c.x(2))
    y = y if alpha == 1 else g.op("Mul", y, g.const(alpha, c.dtype()))
    if beta == 0:
        return y
    return g.op("Add", y, c.x(0) if beta == 1 else g.op("Mul", c.x(0), g.const(beta, c.dtype())))


# --- Convolutions and pooling: three places (depth, height, width), right-aligned ---

def _last(c, key, rank):
    return list(c.attr(key)[3 - rank:])


@conversion("conv")
def conv(c):
    rank = c.attr("rank")
    stride, padding, dilation = (_last(c, k, rank) for k in ("stride", "padding", "dilation"))
    kernel = list(c.shape(1)[2:])
    after = []
    for i in range(rank):  # padding='same' of an even kernel puts the odd element at the end: only the size tells
        reach = dilation[i] * (kernel[i] - 1) + 1
        needs = {(out[2 + i] - 1) * stride[i] + reach - x[2 + i] - padding[i] for x, out in zip(c.shapes(), c.out_shapes())}
        after.append(max(padding[i], max(needs)))
    return c.graph.op("Conv", c.x(0), c.x(1), c.x(2), kernel_shape=kernel, strides=stride, pads=padding + after,
                      dilations=dilation, group=c.attr("groups"))


@conversion("conv_backward_input")
def conv_transpose(c):
    rank = c.attr("rank")
    stride, padding, dilation = (_last(c, k, rank) for k in ("stride", "padding", "dilation"))
    kernel = list(c.shape(1)[2:])
    extra = [c.fixed((out[2 + i] - ((x[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (kernel[i] - 1) + 1)
                      for x, out in zip(c.shapes(), c.out_shapes())), "its output_padding") for i in range(rank)]
    return c.graph.op("ConvTranspose", c.x(0), c.x(1), c.x(2), kernel_shape=kernel, strides=stride, pads=padding * 2,
                      dilations=dilation, group=c.attr("groups"), output_padding=extra)


def _batched(c, spatial, make):
    """make(x) with a batch axis; outputs lose it again where the input has none."""
    g = c.graph
    if len(c.shape()) == spatial + 2:
        return make(c.x())
    first = g.const((0,))
    return g.op("Squeeze", make(g.op("Unsqueeze", c.x(), first)), first)


@conversion("max_pool", "max_pool_with_indices", "avg_pool")
def pool(c):
    rank, g = c.attr("spatial"), c.graph
    kernel, stride, padding, dilation = (_last(c, k, rank) for k in ("kernel", "stride", "padding", "dilation"))
    common = {"kernel_shape": kernel, "strides": stride, "pads": padding * 2, "ceil_mode": int(c.attr("ceil_mode"))}
    if c.op != "avg_pool":
        y = _batched(c, rank, lambda x: g.op("MaxPool", x, dilations=dilation, **common))
        return [y, None] if c.op == "max_pool_with_indices" else y
    divisor = c.attr("divisor_override")
    include = 1 if divisor else int(c.attr("count_include_pad"))
    y = _batched(c, rank, lambda x: g.op("AveragePool", x, count_include_pad=include, **common))
    if divisor:
        count = 1
        for k in kernel:
            count *= k
        y = g.op("Mul", y, g.const(count / divisor, c.dtype()))
    return y


@conversion("adaptive_avg_pool", "adaptive_max_pool")
def adaptive_pool(c):
    rank, g = c.attr("spatial"), c.graph
    kind = "Average" if c.op == "adaptive_avg_pool" else "Max"
    sizes, wanted = [s[-rank:] for s in c.shapes()], [s[-rank:] for s in c.out_shapes()]
    if all(n == 1 for w in wanted for n in w):
        y = _batched(c, rank, lambda x: g.op(f"Global{kind}Pool", x))
    elif sizes == wanted:
        y = g.op("Identity", c.x())
    else:
        if any(s != sizes[0] for s in sizes) or any(n % m for n, m in zip(sizes[0], wanted[0])):
            c.refuse(f"from {tuple(sizes[0])} to {tuple(wanted[0])}: ONNX needs fixed sizes that are whole multiples of the "
                     "output's, or an output of 1")
        kernel = [n // m for n, m in zip(sizes[0], wanted[0])]
        y = _batched(c, rank, lambda x: g.op(f"{kind}Pool", x, kernel_shape=kernel, strides=kernel))
    return [y, None] if kind == "Max" else y


# --- Normalisation ---

@conversion("batch_norm")
def batch_norm(c):
    """in: x, weight, bias, running mean, running variance."""
    g, dtype = c.graph, c.dtype()
    channels = c.shape()[1]
    if c.attr("training"):
        at = [d for d in range(len(c.shape())) if d != 1]
        y = _standardised(c, c.x(), at, c.attr("eps"))
        shape = g.const((channels,) + (1,) * (len(c.shape()) - 2))
        return [_affine(c, y, *(g.op("Reshape", c.x(i), shape) if c.has(i) else None for i in (1, 2))), None, None]
    scale = c.x(1) or g.const((1.0,) * channels, dtype)
    shift = c.x(2) or g.const((0.0,) * channels, dtype)
    y = g.op("BatchNormalization", c.x(), scale, shift, c.x(3), c.x(4), epsilon=float(c.attr("eps")))
    return [y, None, None]


def _standardised(c, x, at, eps, centred=True):
    """(x - mean) / sqrt(variance + eps) over the axes `at`."""
    g, at = c.graph, c.graph.const(tuple(at))
    d = g.op("Sub", x, g.op("ReduceMean", x, at)) if centred else x
    variance = g.op("ReduceMean", g.op("Mul", d, d), at)
    return g.op("Div", d, g.op("Sqrt", g.op("Add", variance, g.const(eps, c.dtype()))))


def _affine(c, y, weight, bias):
    y = y if weight is None else c.graph.op("Mul", y, weight)
    return y if bias is None else c.graph.op("Add", y, bias)


@conversion("layer_norm", "rms_norm")
def layer_norm(c):
    """Over the last axes, `size` elements."""
    g, shape, size = c.graph, c.shape(), c.attr("size")
    axis, n = len(shape), 1
    count = len(c.shape(1)) if c.has(1) else None
    while axis > 0 and (n < size if count is None else len(shape) - axis < count):
        axis -= 1
        n *= shape[axis]
    if c.op == "rms_norm":
        y = _standardised(c, c.x(), range(axis, len(shape)), c.attr("eps"), centred=False)
        return [_affine(c, y, c.x(1), None), None]
    scale = c.x(1)
    if scale is None:
        scale = g.initializer("ones", _C.ones(shape[axis:], dtype=getattr(_C, c.dtype())))
    y = g.op("LayerNormalization", c.x(), scale, c.x(2), axis=axis, epsilon=float(c.attr("eps")))
    return [y, None, None]


@conversion("group_norm")
def group_norm(c):
    """Over channels in groups and all pixels: an instance norm of (N, groups, everything)."""
    g, dtype, groups = c.graph, c.dtype(), c.attr("groups")
    flat = g.op("Reshape", c.x(), g.const((0, groups, -1)))
    y = g.op("InstanceNormalization", flat, g.const((1.0,) * groups, dtype), g.const((0.0,) * groups, dtype),
             epsilon=float(c.attr("eps")))
    y = g.op("Reshape", y, g.op("Shape", c.x()))
    shape = g.const((c.shape()[1],) + (1,) * (len(c.shape()) - 2))
    return [_affine(c, y, *(g.op("Reshape", c.x(i), shape) if c.has(i) else None for i in (1, 2))), None, None]


@conversion("interpolate")
def interpolate(c):
    g, rank = c.graph, c.attr("spatial")
    mode = ("nearest", "nearest", "linear", "cubic")[c.attr("mode")]
    exact = c.attr("mode") == 1
    options = {"mode": mode, "axes": list(range(2, 2 + rank)), "coordinate_transformation_mode": (
        "align_corners" if c.attr("align_corners") else "asymmetric" if mode == "nearest" and not exact else "half_pixel")}
    if mode == "nearest":
        options["nearest_mode"] = "round_prefer_ceil" if exact else "floor"
    if mode == "cubic":
        options["cubic_coeff_a"] = -0.5 if c.attr("antialias") else -0.75
    if c.attr("antialias"):
        options["antialias"] = 1
    scale = c.attr("scale")[3 - rank:]
    if all(scale):
        return g.op("Resize", c.x(), None, g.const(tuple(scale), "float32"), **options)
    sizes = c.size_vector([out[2:] for out in c.out_shapes()])
    return g.op("Resize", c.x(), None, None, sizes, **options)


# --- Recurrent layers ---

# ONNX's order of gates, as blocks of PyTorch's: LSTM i, f, g, o -> i, o, f, g; GRU r, z, n -> z, r, n.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


def _reordered(c, i, gates, hidden):
    """Input i, a weight or bias (gates * hidden, …), with its blocks in ONNX's order."""
    rows = [b * hidden + r for b in gates for r in range(hidden)]
    fixed = c.constant(i)
    if fixed is not None:
        return c.graph.initializer(f"{c.x(i)}_gates", fixed.detach()[_C.tensor(rows)]) if len(gates) > 1 else c.x(i)
    return c.graph.op("Gather", c.x(i), c.graph.const(tuple(rows)), axis=0)


@conversion("rnn")
def rnn(c):
    """One layer, one direction. in: x (T, N, in), h0 and c0 (N, hidden) or none, w_ih, w_hh, b_ih, b_hh, batch sizes."""
    g, mode = c.graph, c.attr("mode")
    if c.has(7):
        c.refuse("packed sequences; give padded ones")
    kind = "LSTM" if mode == 2 else "GRU" if mode == 3 else "RNN"
    hidden, gates, first = c.shape(4)[1], _GATES[kind], g.const((0,))
    w, r = (g.op("Unsqueeze", _reordered(c, i, gates, hidden), first) for i in (3, 4))
    b = None
    if c.has(5):
        b = g.op("Unsqueeze", g.op("Concat", *(_reordered(c, i, gates, hidden) for i in (5, 6)), axis=0), first)
    states = [g.op("Unsqueeze", c.x(i), first) if c.has(i) else None for i in ((1, 2) if kind == "LSTM" else (1,))]
    options = {"hidden_size": hidden, "direction": "reverse" if c.attr("reverse") else "forward"}
    if kind == "GRU":
        options["linear_before_reset"] = 1
    if kind == "RNN":
        options["activations"] = ["Relu" if mode == 1 else "Tanh"]
    made = g.op(kind, c.x(), w, r, b, None, *states, outputs=3 if kind == "LSTM" else 2, **options)
    y = g.op("Squeeze", made[0], g.const((1,)))
    return [y, *(g.op("Squeeze", s, first) for s in made[1:])] + [None] * (5 - len(made))


# --- Attention ---

@conversion("attention")
def attention(c):
    """softmax(scale q k^T + mask) v. in: q (…, L, E), k (…, S, E), v (…, S, V), a mask (…, L, S) or none."""
    g, dtype, rank = c.graph, c.dtype(), len(c.shape())
    k, v = c.x(1), c.x(2)
    groups = c.attr("groups")
    if groups > 1:
        if rank != 4:
            c.refuse("shared heads (enable_gqa) with other than 4 dimensions")
        k, v = (_repeat_heads(c, name, i, groups) for i, name in ((1, k), (2, v)))
    q = g.op("Mul", c.x(0), c.number("scale", dtype))
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[*range(rank - 2), rank - 1, rank - 2]))
    minus = g.const(-float("inf"), dtype)
    if c.attr("causal"):
        rows, columns = (g.op("Shape", name, start=-2, end=-1) for name in (c.x(0), c.x(1)))
        square = g.op("Expand", g.const(1), g.op("Concat", rows, columns, axis=0))
        seen = g.cast(g.op("Trilu", square, upper=0), "bool")
        scores = g.op("Where", seen, scores, minus)
    elif c.has(3):
        mask = c.x(3)
        scores = g.op("Where", mask, scores, minus) if c.dtype(3) == "bool" else g.op(
            "Add", scores, mask if c.dtype(3) == dtype else g.cast(mask, dtype))
    weights = g.op("Softmax", scores, axis=-1)
    if c.has(3):  # rows that see nothing are 0
        blind = g.op("Equal", g.op("ReduceMax", scores, g.const((-1,))), minus)
        weights = g.op("Where", blind, g.const(0.0, dtype), weights)
    return [g.op("MatMul", weights, v), None]


def _repeat_heads(c, name, i, groups):
    """(N, heads, S, E) -> (N, heads * groups, S, E), each head `groups` times in a row."""
    g, (_, heads, _, width) = c.graph, c.shape(i)
    wide = g.op("Expand", g.op("Unsqueeze", name, g.const((2,))), g.const((1, 1, groups, 1, 1)))
    return g.op("Reshape", wide, g.const((0, heads * groups, -1, width)))
