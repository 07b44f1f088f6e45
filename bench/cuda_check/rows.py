"""The kernels that are timed: inputs, the call, the bytes and operations that it cannot do without."""
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

SIZES = {"f32": 4, "tf32": 4, "bf16": 2, "f16": 2, "f64": 8}
NAMES = {"f32": "float32", "tf32": "float32", "bf16": "bfloat16", "f16": "float16", "f64": "float64"}


@dataclass
class Spec:
    """An input: normal numbers of the row's dtype (or another), integers below `high`, or positive numbers."""
    shape: tuple
    kind: str = "normal"
    high: int = 0
    dtype: str = ""


@dataclass
class Row:
    kernel: str
    dtype: str
    full: tuple   # dimensions, for timing
    check: tuple  # small ones, for a comparison with float64
    specs: Callable
    setup: Callable  # (t, *inputs) -> a function without arguments that returns the results
    nbytes: Callable
    flops: Callable
    compared: bool = True  # results are a function of the inputs

    @property
    def shape(self):
        return "x".join(map(str, self.full))

    @property
    def name(self):
        return f"{self.kernel}/{self.dtype}/{self.shape}"


ROWS = []


def row(kernel, dtypes, full, check, specs, setup, nbytes, flops=lambda *d: 0, compared=True):
    """nbytes(element size, *dimensions)."""
    for dtype in dtypes.split():
        size = SIZES[dtype]
        ROWS.append(Row(kernel, dtype, full, check, specs, setup, lambda *d, size=size: nbytes(size, *d), flops, compared))


def normal(*shape, dtype=""):
    return Spec(shape, dtype=dtype)


def integers(high, *shape):
    return Spec(shape, "int", high)


def prod(d):
    return math.prod(d)


def with_gradients(t, y_of, inputs):
    """A function that runs forward and backward and returns the gradients."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    y = y_of(*leaves).detach()
    # No constant: a norm's gradient of one is nothing but rounding.
    g = ((t.arange(y.numel(), device=y.device) % 13 - 6).to(y.dtype) / 8).reshape(y.shape)

    def call():
        return t.autograd.grad(y_of(*leaves), leaves, g)
    return call


BIG, FEW = (1 << 26,), (10_007,)

# Elementwise.
row("add", "f32 bf16", BIG, FEW, lambda n: [normal(n), normal(n)], lambda t, x, y: lambda: x + y, lambda e, n: 3 * n * e)
row("mul number", "f32", BIG, FEW, lambda n: [normal(n)], lambda t, x: lambda: x * 1.5, lambda e, n: 2 * n * e)
row("add row", "bf16", (16384, 4096), (37, 130), lambda m, n: [normal(m, n), normal(n)], lambda t, x, y: lambda: x + y,
    lambda e, m, n: 2 * m * n * e)
for name in ("relu", "gelu", "sigmoid"):
    row(name, "bf16", BIG, FEW, lambda n: [normal(n)],
        lambda t, x, name=name: (lambda f: lambda: f(x))(getattr(t.nn.functional, name, None) or getattr(t, name)),
        lambda e, n: 2 * n * e)
row("exp", "f32", BIG, FEW, lambda n: [normal(n)], lambda t, x: x.exp, lambda e, n: 2 * n * e)
row("gelu backward", "bf16", (1 << 25,), FEW, lambda n: [normal(n)],
    lambda t, x: with_gradients(t, t.nn.functional.gelu, [x]), lambda e, n: 5 * n * e)
row("where", "f32", BIG, FEW, lambda n: [normal(n), normal(n)], lambda t, x, y: (lambda c: lambda: t.where(c, x, y))(x > 0),
    lambda e, n: n * (3 * e + 1))
row("cast", "f32", BIG, FEW, lambda n: [normal(n)], lambda t, x: lambda: x.to(t.bfloat16), lambda e, n: n * (e + 2))
row("clone", "f32", BIG, FEW, lambda n: [normal(n)], lambda t, x: x.clone, lambda e, n: 2 * n * e)
row("transpose", "f32", (8192, 8192), (67, 35), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.t().contiguous(),
    lambda e, m, n: 2 * m * n * e)
row("cat", "f32", (8192, 4096), (33, 17), lambda m, n: [normal(m, n), normal(m, n)], lambda t, x, y: lambda: t.cat((x, y), 1),
    lambda e, m, n: 4 * m * n * e)

# Random numbers.
row("dropout", "bf16", BIG, FEW, lambda n: [normal(n)], lambda t, x: lambda: t.nn.functional.dropout(x, 0.1, True),
    lambda e, n: n * (2 * e + 1), compared=False)
row("uniform_", "f32", BIG, FEW, lambda n: [normal(n)], lambda t, x: x.uniform_, lambda e, n: n * e, compared=False)
row("normal_", "f32", BIG, FEW, lambda n: [normal(n)], lambda t, x: x.normal_, lambda e, n: n * e, compared=False)

# Reductions.
row("sum", "f32 bf16", BIG, FEW, lambda n: [normal(n)], lambda t, x: x.sum, lambda e, n: n * e)
row("sum rows", "f32", (8192, 8192), (67, 35), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.sum(1), lambda e, m, n: m * n * e)
row("sum columns", "f32", (8192, 8192), (67, 35), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.sum(0), lambda e, m, n: m * n * e)
row("max rows", "f32", (8192, 8192), (67, 35), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.max(1)[0], lambda e, m, n: m * n * e)
row("var rows", "f32", (8192, 8192), (67, 35), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.var(1), lambda e, m, n: m * n * e)
row("cumsum rows", "f32", (8192, 8192), (67, 35), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.cumsum(1),
    lambda e, m, n: 2 * m * n * e)

# Softmax, losses, norms.
row("softmax", "f32 bf16", (16384, 4096), (37, 130), lambda m, n: [normal(m, n)], lambda t, x: lambda: t.softmax(x, -1),
    lambda e, m, n: 2 * m * n * e)
row("cross_entropy fwd+bwd", "bf16", (8192, 50304), (19, 303), lambda m, n: [normal(m, n), integers(n, m)],
    lambda t, x, y: with_gradients(t, lambda x: t.nn.functional.cross_entropy(x, y), [x]), lambda e, m, n: 3 * m * n * e)
row("layer_norm", "f32 bf16", (16384, 768), (37, 130), lambda m, n: [normal(m, n), normal(n), normal(n)],
    lambda t, x, w, b: lambda: t.nn.functional.layer_norm(x, x.shape[1:], w, b), lambda e, m, n: 2 * m * n * e)
row("layer_norm fwd+bwd", "bf16", (16384, 768), (37, 130), lambda m, n: [normal(m, n), normal(n), normal(n)],
    lambda t, *i: with_gradients(t, lambda x, w, b: t.nn.functional.layer_norm(x, x.shape[1:], w, b), i), lambda e, m, n: 5 * m * n * e)
row("rms_norm", "bf16", (16384, 4096), (37, 130), lambda m, n: [normal(m, n), normal(n)],
    lambda t, x, w: lambda: t.nn.functional.rms_norm(x, x.shape[1:], w, 1e-5), lambda e, m, n: 2 * m * n * e)
row("batch_norm fwd+bwd", "f32", (64, 256, 56, 56), (3, 5, 7, 9), lambda n, c, h, w: [normal(n, c, h, w), normal(c), normal(c)],
    lambda t, *i: with_gradients(t, lambda x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True), i),
    lambda e, *d: 8 * prod(d) * e)
row("group_norm", "f32", (32, 256, 56, 56), (3, 8, 5, 7), lambda n, c, h, w: [normal(n, c, h, w), normal(c), normal(c)],
    lambda t, x, w, b: lambda: t.nn.functional.group_norm(x, 8, w, b), lambda e, *d: 2 * prod(d) * e)

# Matrix products.
for n in (1024, 4096, 8192):
    row("matmul", "bf16", (n, n, n), (67, 45, 131), lambda m, n, k: [normal(m, k), normal(k, n)],
        lambda t, a, b: lambda: a @ b, lambda e, m, n, k: (m * k + k * n + m * n) * e, lambda m, n, k: 2 * m * n * k)
for dtype in ("f16", "tf32", "f32"):
    row("matmul", dtype, (4096, 4096, 4096), (67, 45, 131), lambda m, n, k: [normal(m, k), normal(k, n)],
        lambda t, a, b: lambda: a @ b, lambda e, m, n, k: (m * k + k * n + m * n) * e, lambda m, n, k: 2 * m * n * k)
row("linear", "bf16", (8192, 3072, 768), (67, 45, 131), lambda m, n, k: [normal(m, k), normal(n, k), normal(n)],
    lambda t, *i: lambda: t.nn.functional.linear(*i), lambda e, m, n, k: (m * k + k * n + m * n) * e, lambda m, n, k: 2 * m * n * k)
row("linear fwd+bwd", "bf16", (8192, 3072, 768), (67, 45, 131), lambda m, n, k: [normal(m, k), normal(n, k), normal(n)],
    lambda t, *i: with_gradients(t, t.nn.functional.linear, i), lambda e, m, n, k: 3 * (m * k + k * n + m * n) * e,
    lambda m, n, k: 6 * m * n * k)
row("bmm", "bf16", (128, 512, 512, 64), (3, 33, 45, 64), lambda b, m, n, k: [normal(b, m, k), normal(b, k, n)],
    lambda t, x, y: lambda: t.bmm(x, y), lambda e, b, m, n, k: b * (m * k + k * n + m * n) * e, lambda b, m, n, k: 2 * b * m * n * k)

# Convolutions and pooling.
for c, s, k in ((64, 56, 3), (256, 14, 3), (512, 28, 1)):
    row("conv2d", "bf16", (64, c, s, k), (2, 6, 9, k), lambda n, c, s, k: [normal(n, c, s, s), normal(c, c, k, k)],
        lambda t, x, w: lambda: t.nn.functional.conv2d(x, w, padding=w.shape[2] // 2),
        lambda e, n, c, s, k: (2 * n * c * s * s + c * c * k * k) * e, lambda n, c, s, k: 2 * n * c * s * s * c * k * k)
row("conv2d fwd+bwd", "bf16", (64, 128, 28, 3), (2, 6, 9, 3), lambda n, c, s, k: [normal(n, c, s, s), normal(c, c, k, k)],
    lambda t, *i: with_gradients(t, lambda x, w: t.nn.functional.conv2d(x, w, padding=1), i),
    lambda e, n, c, s, k: (7 * n * c * s * s + 3 * c * c * k * k) * e, lambda n, c, s, k: 6 * n * c * s * s * c * k * k)
row("max_pool2d", "f32", (64, 64, 112), (2, 3, 13), lambda n, c, s: [normal(n, c, s, s)],
    lambda t, x: lambda: t.nn.functional.max_pool2d(x, 3, 2, 1), lambda e, n, c, s: 1.25 * n * c * s * s * e)

# Attention.
for shape, name in (((4, 16, 4096, 128), "attention"), ((32, 12, 1024, 64), "attention")):
    def qkv(b, h, s, d):
        return [normal(b, h, s, d)] * 3

    row(name + " causal", "bf16", shape, (1, 2, 67, shape[3]), qkv,
        lambda t, *i: lambda: t.nn.functional.scaled_dot_product_attention(*i, is_causal=True),
        lambda e, b, h, s, d: 4 * b * h * s * d * e, lambda b, h, s, d: 2 * b * h * s * s * d)
    row(name + " causal fwd+bwd", "bf16", shape, (1, 2, 67, shape[3]), qkv,
        lambda t, *i: with_gradients(t, lambda q, k, v: t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), i),
        lambda e, b, h, s, d: 11 * b * h * s * d * e, lambda b, h, s, d: 7 * b * h * s * s * d)

# Indexing and order.
row("embedding", "bf16", (50304, 768, 65536), (97, 20, 51), lambda v, d, n: [normal(v, d), integers(v, n)],
    lambda t, w, i: lambda: t.nn.functional.embedding(i, w), lambda e, v, d, n: 2 * n * d * e + 8 * n)
row("embedding fwd+bwd", "bf16", (50304, 768, 65536), (97, 20, 51), lambda v, d, n: [normal(v, d), integers(v, n)],
    lambda t, w, i: with_gradients(t, lambda w: t.nn.functional.embedding(i, w), [w]), lambda e, v, d, n: (3 * n * d + 2 * v * d) * e + 8 * n)
row("gather", "f32", (8192, 8192), (67, 35), lambda m, n: [normal(m, n), integers(n, m, n)],
    lambda t, x, i: lambda: x.gather(1, i), lambda e, m, n: m * n * (2 * e + 8))
row("sort rows", "f32", (4096, 4096), (13, 67), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.sort(1)[0], lambda e, m, n: m * n * (2 * e + 8))
row("topk rows", "f32", (4096, 4096), (13, 67), lambda m, n: [normal(m, n)], lambda t, x: lambda: x.topk(8, 1)[0], lambda e, m, n: m * n * e)


# Optimizers, over tensors of many sizes as a language model has them.
def parameters(count, largest):
    sizes = random.Random(0)
    return [normal(sizes.choice((768, 2304, largest // 4, largest))) for _ in range(count)]


def stepper(make):
    def setup(t, *tensors):
        leaves = [x.clone().requires_grad_() for x in tensors]
        for p, x in zip(leaves, tensors):
            p.grad = x * 0.01
        optimizer = make(t, leaves)

        def call():
            optimizer.step()
            return leaves
        return call
    return setup


def floor_of(reads):
    return lambda e, count, largest: reads * e * sum(s.shape[0] for s in parameters(count, largest))


row("AdamW", "f32", (148, 2359296), (7, 1028), parameters, stepper(lambda t, p: t.optim.AdamW(p, lr=1e-3, **fused_if_peer(t))), floor_of(7), compared=False)
row("SGD momentum", "f32", (148, 2359296), (7, 1028), parameters, stepper(lambda t, p: t.optim.SGD(p, lr=1e-3, momentum=0.9, **fused_if_peer(t))), floor_of(5),
    compared=False)
row("clip_grad_norm_", "f32", (148, 2359296), (7, 1028), parameters, lambda t, *x: clip(t, x), floor_of(3), compared=False)


def fused_if_peer(t):
    """The peer's fused kernels; fireseed's are always."""
    return {"fused": True} if t.__name__ == "torch" else {}


def clip(t, tensors):
    leaves = [x.detach().requires_grad_() for x in tensors]
    for p, x in zip(leaves, tensors):
        p.grad = x.clone()
    return lambda: t.nn.utils.clip_grad_norm_(leaves, 1.0)


# Recurrent.
def lstm(t, x, *weights):
    layer = t.nn.LSTM(x.shape[2], weights[0].shape[0] // 4)
    layer = layer.to(device=x.device, dtype=x.dtype)
    with t.no_grad():
        for p, w in zip(layer.parameters(), weights):
            p.copy_(w * 0.1)

    def call():
        with t.no_grad():
            return layer(x)[0]
    return call


row("LSTM", "f32", (64, 128, 512), (5, 3, 8),
    lambda s, b, d: [normal(s, b, d), normal(4 * d, d), normal(4 * d, d), normal(4 * d), normal(4 * d)], lstm,
    lambda e, s, b, d: s * (2 * b * d + 8 * d * d) * e, lambda s, b, d: 16 * s * b * d * d)
