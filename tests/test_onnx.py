"""onnx.export: models exported, run by onnxruntime and compared; dynamic axes, in-place writes, errors."""
import io

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn
from fireseed.nn import functional as F
from fireseed.onnx import OnnxExporterError, UnsupportedOperatorError, export, is_in_onnx_export

ort = pytest.importorskip("onnxruntime")

A, B = (np.random.default_rng(i).standard_normal((3, 4)).astype(np.float32) for i in (1, 2))


def leaves(nest):
    if isinstance(nest, fs.Tensor):
        return [nest]
    parts = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, (tuple, list)) else ()
    return [t for part in parts for t in leaves(part)]


def run(data, inputs):
    """onnxruntime's results for the inputs in order."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: t.numpy() for i, t in zip(session.get_inputs(), inputs)})


def check(model, args, *others, tolerance=1e-5, **options):
    """Exports model(*args); its results and onnxruntime's agree for args and for other args. Returns the bytes."""
    if isinstance(model, nn.Module):
        model.eval()
    args = args if isinstance(args, tuple) else (args,)
    data = export(model, args, **options)
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
    for given in (args, *others):
        given = given if isinstance(given, tuple) else (given,)
        with fs.no_grad():
            expected = leaves(model(*given))
        got = run(data, leaves(given))
        assert len(got) == len(expected)
        for e, g in zip(expected, got):
            e = e.numpy()
            assert g.dtype == e.dtype and g.shape == e.shape, (g.dtype, g.shape, e.dtype, e.shape)
            np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance)
    return data


def batch(name="x", axis=0, label="batch"):
    return {"input_names": [name], "dynamic_axes": {name: {axis: label}}}


# --- Models ---

def test_sequential():
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3),
                          nn.Softmax(-1))
    check(model, fs.randn(4, 5), fs.randn(1, 5), fs.randn(9, 5), **batch())
    check(model, fs.randn(1, 5), fs.randn(7, 5), **batch())  # an example batch of 1 is no constant
    check(model, fs.randn(2, 6, 5))
    check(model, fs.randn(5))


def test_training_mode_is_restored_and_parameters_keep_their_names():
    onnx = pytest.importorskip("onnx")
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[1].eval()
    graph = onnx.load_model_from_string(export(model, fs.randn(3, 2))).graph
    assert model.training and model[0].training and not model[1].training and model[2].training
    assert {"0.weight", "0.bias", "1.weight", "1.running_mean"} <= {i.name for i in graph.initializer}
    assert [n.op_type for n in graph.node] == ["Gemm", "BatchNormalization", "Identity"]
    assert graph.node[1].name == "/1/BatchNormalization"


class ResidualBlock(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b)) if a != b else None

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.down is None else self.down(x)
        return self.relu(y)


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, 2, padding=2)
        self.blocks = nn.Sequential(ResidualBlock(8, 8, 1), ResidualBlock(8, 16, 2))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem(x)), 2)
        x = self.blocks(x)
        x = F.adaptive_avg_pool2d(x, 1)
        return F.log_softmax(self.fc(x.view(x.size(0), -1)), dim=1)


def warmed(model, *args):
    """The model with batch statistics of its own."""
    for _ in range(3):
        model.train()(*args)
    return model


def test_residual_cnn():
    model = warmed(CNN(), fs.randn(4, 3, 32, 32))
    check(model, fs.randn(2, 3, 32, 32), fs.randn(1, 3, 32, 32), fs.randn(5, 3, 32, 32), **batch())
    # Height and width, too: the model only looks at them through pooling.
    axes = {"x": {0: "n", 2: "h", 3: "w"}}
    check(model, fs.randn(2, 3, 32, 32), fs.randn(1, 3, 48, 40), input_names=["x"], dynamic_axes=axes)


@pytest.mark.parametrize("layer, shape", [
    (lambda: nn.Conv1d(4, 6, 3, padding="same", dilation=2), (2, 4, 9)), (lambda: nn.Conv1d(4, 6, 4, padding="same"), (2, 4, 9)),
    (lambda: nn.Conv2d(4, 8, (3, 2), (2, 1), (1, 0), groups=2), (2, 4, 8, 7)), (lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
    (lambda: nn.Conv2d(4, 8, 3), (4, 7, 7)),
    (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1), (2, 4, 5, 5)),
    (lambda: nn.ConvTranspose1d(4, 6, 4, 2, 1, groups=2), (2, 4, 5)),
    (lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 3, 8, 8)), (lambda: nn.MaxPool1d(2), (2, 3, 8)),
    (lambda: nn.AvgPool2d(3, 2, 1), (2, 3, 8, 8)), (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), (2, 3, 8, 8)),
    (lambda: nn.AvgPool2d(2, divisor_override=3), (2, 3, 8, 8)), (lambda: nn.AvgPool3d(2), (3, 4, 4, 4)),
    (lambda: nn.AdaptiveAvgPool2d((2, 4)), (2, 3, 8, 8)), (lambda: nn.AdaptiveMaxPool2d(1), (2, 3, 8, 8)),
    (lambda: nn.AdaptiveMaxPool1d(4), (2, 3, 8)),
    (lambda: nn.BatchNorm2d(3, affine=False), (2, 3, 4, 4)), (lambda: nn.BatchNorm1d(3, track_running_stats=False), (4, 3)),
    (lambda: nn.GroupNorm(2, 6), (2, 6, 4, 4)), (lambda: nn.InstanceNorm2d(3, affine=True), (2, 3, 4, 4)),
    (lambda: nn.LayerNorm((3, 4), elementwise_affine=False), (2, 3, 4)), (lambda: nn.RMSNorm(4), (2, 3, 4)),
    (lambda: nn.LocalResponseNorm(3), (2, 6, 4, 4)),
    (lambda: nn.Upsample(scale_factor=2), (2, 3, 4, 4)), (lambda: nn.Upsample((7, 9), mode="bilinear"), (2, 3, 4, 4)),
    (lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), (2, 3, 4, 4)),
    (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), (2, 3, 4, 4)), (lambda: nn.Upsample(5), (2, 3, 4)),
    (lambda: nn.ZeroPad2d((1, 2, 0, 3)), (2, 3, 4, 4)), (lambda: nn.ReflectionPad2d(2), (2, 3, 4, 4)),
    (lambda: nn.ReplicationPad1d(2), (2, 3, 4)), (lambda: nn.ConstantPad1d((-1, 2), 3.5), (2, 3, 4)),
    (lambda: nn.PixelShuffle(2), (2, 8, 3, 3)), (lambda: nn.PixelUnshuffle(2), (2, 2, 4, 4)), (lambda: nn.Flatten(), (2, 3, 4)),
    (lambda: nn.Unflatten(1, (2, 3)), (4, 6)), (lambda: nn.ChannelShuffle(2), (2, 6, 2, 2)),
    (lambda: nn.CosineSimilarity(dim=1), None), (lambda: nn.Bilinear(4, 4, 3), None), (lambda: nn.PReLU(3), (2, 3, 4)),
    (lambda: nn.GLU(), (2, 6)), (lambda: nn.Softmax2d(), (2, 3, 4, 4)),
], ids=lambda v: "" if callable(v) or v is None else str(v))
def test_layers(layer, shape):
    model = layer()
    if shape is None:
        args = (fs.randn(5, 4), fs.randn(5, 4))
        check(model, args, (fs.randn(3, 4), fs.randn(3, 4)), input_names=["a", "b"], dynamic_axes={"a": [0], "b": [0]})
    elif shape[0] in (2, 4) and len(shape) > 2 and not isinstance(model, nn.Conv2d):
        check(model, fs.randn(*shape), fs.randn(5, *shape[1:]), **batch())
    else:
        check(model, fs.randn(*shape))


ACTIVATIONS = [
    "relu", "relu6", "sigmoid", "tanh", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu", "selu", "celu",
    "gelu", "softplus", "softsign", "logsigmoid", "tanhshrink", "hardshrink", "softshrink"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    check(lambda x: getattr(F, name)(x * 4), fs.randn(6, 7))


def test_activations_with_arguments():
    check(lambda x: (F.gelu(x, approximate="tanh"), F.elu(x, 0.5), F.celu(x, 2.0), F.softplus(x, 2.0, 3.0),
                     F.leaky_relu(x, 0.3), F.threshold(x, 0.1, 20.0), F.hardtanh(x, -0.3, 0.6), F.softmin(x, 0)),
          fs.randn(6, 7))


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2, "batch_first": True}, {"bias": False}],
                         ids=["plain", "deep", "unbiased"])
def test_recurrent_layers(kind, options):
    model = getattr(nn, kind)(4, 6, **options)
    first = options.get("batch_first", False)
    shape = (3, 5, 4) if first else (5, 3, 4)
    axes = {"x": {0: "batch" if first else "time", 1: "time" if first else "batch"}}
    check(model, fs.randn(*shape), fs.randn(7, 2, 4), input_names=["x"], dynamic_axes=axes)


def test_recurrent_layers_with_states():
    model = nn.LSTM(4, 6, 2)
    args = (fs.randn(5, 3, 4), (fs.randn(2, 3, 6), fs.randn(2, 3, 6)))
    other = (fs.randn(5, 7, 4), (fs.randn(2, 7, 6), fs.randn(2, 7, 6)))
    names = ["x", "h", "c"]
    check(model, args, other, input_names=names, output_names=["y", "hn", "cn"],
          dynamic_axes={n: {1: "batch"} for n in [*names, "y"]})
    # Without labels: the three axes must agree, which the tracer finds out.
    check(model, args, other, input_names=names, dynamic_axes={n: [1] for n in names})
    check(nn.RNN(4, 6, nonlinearity="relu"), (fs.randn(5, 3, 4), fs.randn(1, 3, 6)))


class Classifier(nn.Module):
    """Characters to classes: embedding, GRU, the last step."""

    def __init__(self):
        super().__init__()
        self.embedding, self.rnn, self.fc = nn.Embedding(20, 8, padding_idx=0), nn.GRU(8, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x):
        y, _ = self.rnn(self.embedding(x))
        return self.fc(y[:, -1]), y[:, ::2].mean(dim=1)


def test_embedding_and_last_step():
    axes = {"x": {0: "batch", 1: "time"}}
    check(Classifier(), fs.randint(0, 20, (2, 6)), fs.randint(0, 20, (4, 6)), fs.randint(0, 20, (1, 9)), input_names=["x"],
          dynamic_axes=axes)


class Loop(nn.Module):
    """Cells in a Python loop, results written into a tensor and stacked."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        h = fs.zeros(x.size(1), 6)
        c = fs.zeros(x.size(1), 6)
        out, steps = fs.zeros(x.size(0), x.size(1), 6), []
        for t in range(x.size(0)):
            if isinstance(self.cell, nn.LSTMCell):
                h, c = self.cell(x[t], (h, c))
            else:
                h = self.cell(x[t], h)
            out[t] = h
            steps.append(h)
        return out, fs.stack(steps)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_in_a_loop(cell):
    check(Loop(cell(4, 6)), fs.randn(3, 2, 4), fs.randn(3, 5, 4), input_names=["x"], dynamic_axes={"x": {1: "batch"}})
    with pytest.raises(OnnxExporterError, match="the number of ops depends on the size of a dynamic axis|the model's path"):
        export(Loop(cell(4, 6)), fs.randn(3, 2, 4), input_names=["x"], dynamic_axes={"x": [0]})


class GPT(nn.Module):
    """A small decoder: tokens and positions, causal attention written by hand and by the library."""

    class Block(nn.Module):
        def __init__(self, width, heads, by_hand):
            super().__init__()
            self.heads, self.by_hand = heads, by_hand
            self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))
            self.register_buffer("mask", fs.tril(fs.ones(16, 16)).view(1, 1, 16, 16))

        def forward(self, x):
            b, t, width = x.size()
            q, k, v = self.qkv(self.ln1(x)).split(width, dim=2)
            q, k, v = (z.view(b, t, self.heads, width // self.heads).transpose(1, 2) for z in (q, k, v))
            if self.by_hand:
                scores = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
                scores = scores.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
                y = F.softmax(scores, dim=-1) @ v
            else:
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.proj(y.transpose(1, 2).contiguous().view(b, t, width))
            return x + self.mlp(self.ln2(x))

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(30, 16), nn.Embedding(16, 16)
        self.blocks = nn.ModuleList([self.Block(16, 2, True), self.Block(16, 4, False)])
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        t = x.size(1)
        y = self.tokens(x) + self.positions(fs.arange(t))
        for block in self.blocks:
            y = block(y)
        return self.head(y)


def test_gpt_with_any_batch_and_length():
    data = check(GPT(), fs.randint(0, 30, (2, 7)), fs.randint(0, 30, (3, 12)), fs.randint(0, 30, (1, 1)),
                 input_names=["tokens"], output_names=["logits"],
                 dynamic_axes={"tokens": {0: "batch", 1: "time"}, "logits": {0: "batch", 1: "time"}})
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", "time"]
    assert session.get_outputs()[0].name == "logits" and session.get_outputs()[0].shape == ["batch", "time", 30]


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_encoder(norm_first):
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=norm_first, activation="gelu")
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    check(model, fs.randn(2, 5, 16), fs.randn(3, 8, 16), input_names=["x"], dynamic_axes={"x": {0: "batch", 1: "time"}})


def test_transformer_with_masks():
    model = nn.Transformer(16, 4, 1, 1, 32, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    check(lambda a, b: model.eval()(a, b, tgt_mask=mask), (fs.randn(2, 5, 16), fs.randn(2, 4, 16)),
          (fs.randn(3, 5, 16), fs.randn(3, 4, 16)), input_names=["a", "b"], dynamic_axes={"a": {0: "n"}, "b": {0: "n"}})


def test_multihead_attention_and_padding_mask():
    model = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    padded = fs.tensor([[False, False, True], [False, True, True]])
    check(lambda q, p: model(q, q, q, key_padding_mask=p), (fs.randn(2, 3, 16), padded))
    check(lambda q, p: model(q, q, q, key_padding_mask=p, need_weights=False)[0], (fs.randn(2, 3, 16), padded),
          (fs.randn(1, 3, 16), padded[:1]), input_names=["q", "p"], dynamic_axes={"q": {0: "n"}, "p": {0: "n"}})
    seen = fs.tensor([[True, False], [False, False]])  # the second query sees nothing
    check(lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m), (fs.randn(1, 2, 4), seen))
    check(lambda q, k: F.scaled_dot_product_attention(q, k, k, enable_gqa=True), (fs.randn(2, 4, 3, 8), fs.randn(2, 2, 5, 8)))


# --- Functions ---

FUNCTIONS = {
    "arithmetic": lambda x, y: (x + y, x - 2 * y, x * y / (1 + y * y), 3 - x, 2 / (x * x + 1), -x, x + 1, x ** 3, x ** 0.5 + y.abs() ** y),
    "alpha": lambda x, y: (fs.add(x, y, alpha=3), fs.sub(x, y, alpha=0.5), fs.addcmul(x, x, y, value=2), fs.addcdiv(x, x, y.abs() + 1)),
    "broadcast": lambda x, y: (x + y[0], x[:, None] * y[None], x * y.sum()),
    "comparisons": lambda x, y: (x > y, x <= 0, x == x, x != y, (x > 0) & (y < 1), (x > 0) | ~(y < 1), (x > 0) ^ (y > 0)),
    "where": lambda x, y: (fs.where(x > 0, x, y), fs.where(x > 0, x, 0.5), x.masked_fill(y > 0, 2.0), fs.maximum(x, y), fs.minimum(x, y)),
    "clamp": lambda x, y: (x.clamp(-0.5, 0.5), x.clamp(min=0), x.clamp(max=1), fs.clamp(x, min=y), (x * 10).long().clamp(-3, 4)),
    "functions": lambda x, y: (x.exp(), (x.abs() + 1).log(), x.sin(), x.cos(), x.tanh(), x.erf(), x.abs().sqrt(), (x.abs() + 1).rsqrt(), x.floor(),
                               x.ceil(), x.round(), x.trunc(), x.sign(), x.square(), x.expm1(), x.abs().log1p(), x.atan(), fs.exp2(x), x.frac(),
                               (x.abs() + 1).log2(), (x.abs() + 1).log10(), fs.lerp(x, y, 0.3), x.reciprocal(), x.deg2rad(), x.isnan(), (x / (x > 0)).nan_to_num(1.0, 2.0, 3.0), x.unfold(1, 2, 1)),
    "division": lambda x, y: (x // (y.abs() + 0.3), x % (y.abs() + 0.3), fs.fmod(x, 0.7), fs.div(x, y.abs() + 0.3, rounding_mode="trunc")),
    "whole division": lambda x, y: [f((x * 9).long(), (y.abs() * 3).long() + 1) for f in (
        fs.floor_divide, fs.remainder, fs.fmod, lambda a, b: fs.div(a, b, rounding_mode="trunc"))],
    "reductions": lambda x, y: (x.sum(), x.sum(0), x.mean(1, keepdim=True), x.mean(), x.amax(1), x.amin(), x.prod(0), x.max(), x.min(1)[0],
                                x.max(1), x.argmax(), x.argmin(1), x.std(), x.var(0, unbiased=False), x.norm(), x.norm(p=1, dim=1), x.norm(p=3),
                                x.logsumexp(1), (x > 0).any(), (x > 0).all(1), x.cumsum(1), x.sum((0, 1)), fs.var_mean(x, 1), x.norm(float("inf"))),
    "shapes": lambda x, y: (x.view(4, 3), x.reshape(-1), x.t(), x.permute(1, 0), x.unsqueeze(0).squeeze(0), x.flatten(), x[None, ..., None],
                            x.expand(2, 3, 4), x.transpose(0, 1).contiguous().view(2, 6), fs.cat([x, y], 1), fs.stack([x, y], 1), x.repeat(2, 1, 2),
                            x.chunk(2, 1), x.split(1), x.unbind(0), x.flip(1), x.roll(1, 0), x.tile(2), x.movedim(0, 1), fs.narrow(x, 1, 1, 2)),
    "indexing": lambda x, y: (x[0], x[-1], x[:, 1:3], x[1:, ::2], x[..., 0], x[:, [0, 2]], x[fs.tensor([1, 1, 0])], x[fs.tensor([0, 1]), fs.tensor([2, 3])],
                              x.index_select(1, fs.tensor([3, 0])), x.gather(1, fs.tensor([[0, 1], [2, 3], [3, 0]])),
                              fs.stack([x, y])[:, fs.tensor([0, 1]), fs.tensor([2, 3])]),
    "triangles": lambda x, y: (x.tril(), x.triu(1), fs.tril(x > 0)),
    "products": lambda x, y: (x @ y.t(), x.matmul(y[0]), fs.bmm(x[None], y.t()[None]), fs.addmm(x, x @ x.t(), y, beta=2, alpha=0.5),
                              fs.einsum("ij,kj->ik", x, y), fs.outer(x[0], y[0]), x[0].dot(y[0]), F.linear(x, y), F.linear(x, y, y[:, 0])),
    "sorting": lambda x, y: (x.topk(2, 1), x.sort(1, descending=True), x.sort(0)[0], x.topk(2, 0, largest=False)),
    "softmax": lambda x, y: (x.softmax(0), F.log_softmax(x, -1), F.normalize(x, dim=1)),
    "types": lambda x, y: (x.double(), (x * 3).long(), (x > 0).float(), x.to(fs.float16).float(), (x * 3).int() + 1, x.long() * 0.5, x.type_as(y)),
    "one hot": lambda x, y: (F.one_hot(x.argmax(1), 4), F.embedding(x.argmax(0), y)),
    "losses": lambda x, y: (F.mse_loss(x, y), F.l1_loss(x, y, reduction="sum")),
    "new tensors": lambda x, y: (x + fs.ones(4), fs.arange(4) * x, fs.zeros_like(x) + y, fs.full((3, 1), 2.0) * x, x.new_zeros(3, 1) - x),
    "padding": lambda x, y: (F.pad(x, (1, 2)), F.pad(x, (0, 0, 1, 0), value=3.0), F.pad(x[None], (2, 1), mode="reflect")),
    "detached": lambda x, y: (x.detach() + y.data, x.clone() * 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    x, y = fs.tensor(A), fs.tensor(B)
    if name == "arithmetic":
        x = x.abs()
    check(FUNCTIONS[name], (x, y))


def test_functions_of_a_dynamic_axis():
    def model(x):
        n = x.size(0)
        return (x.view(n, 2, 2), x.reshape(-1), x.sum(0) / n, x[1:], x[: n - 1], x[n // n:], x[-2:], x.flip(0), fs.arange(n), fs.arange(1, n + 1),
                x + fs.zeros(n, 1), x.new_ones(n, 4) * x, x[:, None].expand(n, 3, 4), fs.cat([x, x]), x.view(2 * n, 2), x.roll(-1, 0), x.repeat(1, n),
                fs.eye(4)[None].expand(n, 4, 4) @ x[:, :, None], x.var(0), fs.ones(n, n).tril() @ x, x * n, x.unsqueeze(0).view(1, n, 4), x[n - 1])

    check(model, fs.randn(3, 4), fs.randn(2, 4), fs.randn(8, 4), **batch())


def test_two_free_axes():
    def model(x):
        b, t, c = x.shape
        return x.reshape(b * t, c), x.view(b, t, 2, c // 2).transpose(1, 2).reshape(b * 2, t, c // 2), x.mean((0, 1)), x.reshape(b, t * c), x[:, t - 1]

    check(model, fs.randn(2, 3, 4), fs.randn(5, 4, 4), fs.randn(1, 9, 4), fs.randn(4, 4, 4), input_names=["x"],
          dynamic_axes={"x": {0: "b", 1: "t"}})


def test_writes_in_place():
    def model(x):
        y = x.clone()
        y += 1
        y.mul_(2).relu_()
        z = fs.zeros(3, 4)
        z[0] = y[0]
        z[1:, :2] = y[1:, 2:]
        z[:, 3] = 5.0
        w = fs.empty(2, 3)
        w.fill_(2)
        v = x.t().clone()
        v[1].add_(3)
        u = fs.zeros(12)
        u.view(3, 4)[1] = x[2]
        x2 = x * 1
        x2[:, 1] += 2
        x3 = x * 1
        x3[fs.tensor([0, 2])] = 7.0
        x3[x > 1] = -1.0
        return y, z, w + x[:2, :3], v, u, x2, x3, fs.eye(4) + x[0]

    check(model, fs.randn(3, 4))

    def grown(x):
        y = x.new_zeros(x.size(0), 6)
        y[:, :4] = x
        y[:, 4] = 1
        return y

    check(grown, fs.randn(3, 4), fs.randn(5, 4), **batch())

    def stale(x):
        y = x.clone()
        row = y[0]
        y.mul_(2)
        return row + 1

    with pytest.raises(OnnxExporterError, match=r"memory was written in place through another view \(the op 'mul(_scalar)?' "):
        export(stale, fs.randn(3, 4))


# --- The call ---

def test_files_names_arguments_and_results(tmp_path):
    class Model(nn.Module):
        def forward(self, a, pair, scale=1.0, *, extra=None):
            y = a + pair[0] * pair[1]["z"] * scale
            return {"sum": y if extra is None else y + extra, "rest": [y, (y * 2, None)]}

    args = (fs.ones(2), (fs.ones(2), {"z": fs.full((2,), 3.0)}), 2.0)
    data = export(Model(), args, str(tmp_path / "m.onnx"), kwargs={"extra": fs.ones(2)})
    assert (tmp_path / "m.onnx").read_bytes() == data
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["a", "pair_0", "pair_1", "extra"]
    assert [o.name for o in session.get_outputs()] == ["sum", "output_1", "output_2"]
    assert run(data, [fs.ones(2), fs.ones(2), fs.ones(2), fs.ones(2)])[0].tolist() == [4, 4]
    buffer = io.BytesIO()
    export(Model(), (*args, {"extra": fs.ones(2)}), buffer, output_names=["s"], input_names=["x"])
    session = ort.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == "x" and session.get_outputs()[0].name == "s"
    assert run(export(lambda x: (x, x, 1 * fs.ones(2)), fs.ones(3)), [fs.ones(3)])[2].tolist() == [1, 1]
    assert run(export(lambda x, y: x - y, (args[0], args[0])), [fs.ones(2), 3 * fs.ones(2)])[0].tolist() == [-2, -2]


@pytest.mark.parametrize("opset", [18, 19, 20, 21, 22, 23])
def test_opsets(opset):
    check(CNN(), fs.randn(1, 3, 16, 16), opset_version=opset)
    check(GPT(), fs.randint(0, 30, (2, 4)), opset_version=opset)


def test_an_op_of_a_later_opset():
    check(lambda x: F.pad(x, (1, 1), mode="circular"), fs.randn(1, 2, 4), opset_version=19)
    with pytest.raises(UnsupportedOperatorError, match="circular padding needs opset_version=19 or more"):
        export(lambda x: F.pad(x, (1, 1), mode="circular"), fs.randn(1, 2, 4))


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes(dtype):
    dtype = getattr(fs, dtype)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(dtype)
    check(model, fs.randn(3, 4).to(dtype), tolerance=1e-2 if dtype == fs.float16 else 1e-9)


def test_the_model_may_ask_whether_it_is_exported():
    assert not is_in_onnx_export()
    assert run(export(lambda x: x + 1 if is_in_onnx_export() else x, fs.ones(2)), [fs.ones(2)])[0].tolist() == [2, 2]
    assert not is_in_onnx_export()


def test_unused_and_constant_parts_are_left_out():
    onnx = pytest.importorskip("onnx")
    weight = fs.randn(4, 4)

    def model(x):
        fs.nonzero(x)  # has no counterpart here, and nobody needs it
        return x @ weight.t().softmax(0)

    graph = onnx.load_model_from_string(export(model, fs.randn(3, 4))).graph
    assert [n.op_type for n in graph.node] == ["MatMul", "Identity"] and len(graph.initializer) == 1


# --- Errors ---

class Unsupported(nn.Module):
    class Inner(nn.Module):
        def forward(self, x):
            return fs.linalg.cholesky(x @ x.t() + fs.eye(3))

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), self.Inner()])

    def forward(self, x):
        return self.layers[1](x)


def test_an_unsupported_op_is_named_with_its_place():
    with pytest.raises(UnsupportedOperatorError) as info:
        export(Unsupported(), fs.randn(3, 3))
    text = str(info.value)
    assert "the op 'cholesky' cannot be exported" in text and "in the module 'layers.1' (Inner)" in text
    assert "test_onnx.py:" in text and "in forward: `return fs.linalg.cholesky(" in text and info.value.op == "cholesky"


@pytest.mark.parametrize("model, message", [
    (lambda x: F.dropout(x, 0.5, True), "the op 'dropout' cannot be exported: it draws random numbers; model.eval()"),
    (lambda x: x[x > 0], "the size of its result depends on the data"),
    (lambda x: x.sum() if x.size(0) < 4 else x.prod(), "the model's path depends on the size of a dynamic axis"),
    (lambda x: list(x)[-1], "depends on the size of a dynamic axis"),
    (lambda x: x * (1 / x.size(0)), "its 'value' depends on the sizes or values of the inputs"),
    (lambda x: x + fs.tensor([float(i * i) for i in range(x.size(0))])[:, None], "whose values depend on the input outside"),
    (lambda x: x * x.sum().item(), "its 'value' depends on the sizes or values"),
    (lambda x: x + fs.from_numpy(x.numpy() * 2), "whose values depend on the input outside.*It is used at .*test_onnx.py:"),
    (lambda x: x if x.max() < x.abs().max() * 0 + 0.01 + A.max() * 0.9 else x + 1, "path depends on the values of the inputs"),
    (lambda x: x[: x.size(0) // 2], "its stop follows no simple formula"),
    (lambda x: 3, "the model returned int"),
    (lambda x: None, "the model returned no tensor"),
    (lambda x: F.adaptive_avg_pool1d(x[None], 3), "from \\(4,\\) to \\(3,\\): ONNX needs fixed sizes"),
])
def test_errors(model, message):
    with pytest.raises(OnnxExporterError, match=message):
        export(model, fs.tensor(A), **batch())


def test_decisions_on_values_can_be_fixed():
    def model(x):
        return x + 1 if x.max() > 0.95 else x

    with pytest.raises(OnnxExporterError, match="depends on the values of the inputs.*check_values=False"):
        export(model, fs.ones(3))
    assert run(export(model, fs.ones(3), check_values=False), [fs.zeros(3)])[0].tolist() == [1, 1, 1]


def test_the_model_may_write_into_inputs_and_buffers():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", fs.zeros(2))

        def forward(self, x):
            x.mul_(2)
            return x + 1

    x = fs.ones(2)
    assert run(export(Counts(), x), [fs.ones(2)])[0].tolist() == [3, 3] and x.tolist() == [1, 1]
    assert run(export(lambda x: (x.add_(1), x * 2)[1], x), [fs.ones(2)])[0].tolist() == [4, 4]


def test_a_failing_model_leaves_no_recorder_behind():
    def fails(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        export(fails, fs.ones(2))
    assert (fs.ones(2) + 1).tolist() == [2, 2] and not is_in_onnx_export()
    with pytest.raises(OnnxExporterError, match="does not run with another size of the dynamic axis 'batch'.*view"):
        export(lambda x: x.view(3, 4), fs.randn(3, 4), **batch())


@pytest.mark.parametrize("options, message", [
    ({"opset_version": 17}, "opset_version must be from 18 to 23"),
    ({"dynamic_axes": {"y": [0]}}, "names 'y', which is neither an input"),
    ({"dynamic_axes": {"x": [5]}}, "'x' has 2 axes, got axis 5"),
    ({"dynamic_axes": {"x": {0: "n", 1: "n"}}}, "axes of one name must have one size"),
    ({"input_names": ["a", "b"]}, "at most one for each of the 1 tensors"),
    ({"output_names": ["a", "b"]}, "at most one for each of the 1 tensors that the model returns"),
])
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        export(lambda x: x + 1, fs.ones(2, 3), **{"input_names": ["x"], **options})


def test_arguments_without_a_tensor():
    with pytest.raises(ValueError, match="args has no tensor"):
        export(lambda x: x, (3,))


def test_the_recorder_sees_every_op_with_its_attributes():
    seen = []
    fs._C._set_recorder(lambda *call: seen.append(call))
    try:
        y = fs.softmax(fs.ones(2, 3) + 1, 1)
        y.mul_(2)
    finally:
        fs._C._set_recorder(None)
    fs.ones(2) + 1
    names = [op for op, *_ in seen if op != "fill"]
    assert names == ["add_scalar", "softmax", "mul_scalar"]
    op, inputs, attrs, outputs, in_place = seen[-2]
    assert attrs == {"dim": 1} and outputs[0] is y and not in_place and inputs[0].shape == (2, 3)
    op, inputs, attrs, outputs, in_place = seen[-1]
    assert attrs == {"value": 2.0} and in_place and inputs[0] is y and outputs[0] is y
    with pytest.raises(ZeroDivisionError):
        fs._C._set_recorder(lambda *call: 1 / 0)
        try:
            fs.ones(2) + 1
        finally:
            fs._C._set_recorder(None)
