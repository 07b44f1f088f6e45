"""Layers beside PyTorch's: initial values, repr, state-dict keys, outputs and gradients, in training and evaluation."""

import fireseed as fs
import numpy as np
import pytest
from parity import against_peer, as_lib, assert_same, backward, leaves

R = np.random.RandomState(0)


def r(*shape):
    return R.randn(*shape).astype(np.float32)


def ints(high, *shape):
    return R.randint(0, high, shape)


def mask(*shape):
    return R.rand(*shape) > 0.6


X2, X3, X4, X5 = r(4, 6), r(3, 4, 9), r(2, 4, 8, 7), r(2, 4, 5, 6, 4)
PROB = R.rand(4, 6).astype(np.float32)
SIGN = np.sign(r(4)).astype(np.float32)
SEQ = r(5, 3, 8)

# name, constructor arguments, keyword arguments, forward arguments
CASES = [
    ("Identity", (), {}, (X2,)),
    ("Linear", (6, 5), {}, (X2,)),
    ("Linear", (6, 5), {"bias": False}, (r(2, 3, 6),)),
    ("Bilinear", (6, 5, 3), {}, (X2, r(4, 5))),
    ("Flatten", (), {}, (X4,)),
    ("Unflatten", (1, (2, 3)), {}, (X2,)),
    ("Conv1d", (4, 6, 3), {"padding": 1, "stride": 2}, (X3,)),
    ("Conv1d", (4, 6, 4), {"padding": "same", "dilation": 2}, (X3,)),
    ("Conv2d", (4, 6, 3), {}, (X4,)),
    ("Conv2d", (4, 8, (3, 2)), {"groups": 2, "padding": (1, 2), "bias": False}, (X4,)),
    ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "reflect"}, (X4,)),
    ("Conv2d", (4, 6, 3), {"padding": "same", "padding_mode": "circular"}, (X4,)),
    ("Conv2d", (4, 6, 3), {"padding": "valid", "dilation": 2}, (X4,)),
    ("Conv2d", (4, 6, 3), {}, (r(4, 8, 8),)),
    ("Conv3d", (4, 2, 2), {"stride": 2}, (X5,)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, (X3,)),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (X4,)),
    ("ConvTranspose3d", (4, 2, 2), {}, (X5,)),
    ("MaxPool1d", (2,), {}, (X3,)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (X4,)),
    ("MaxPool2d", (2,), {"return_indices": True}, (X4,)),
    ("MaxPool3d", (2,), {}, (X5,)),
    ("AvgPool1d", (3,), {"padding": 1}, (X3,)),
    ("AvgPool2d", (3,), {"stride": 2, "count_include_pad": False}, (X4,)),
    ("AvgPool3d", (2,), {}, (X5,)),
    ("AdaptiveAvgPool1d", (4,), {}, (X3,)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (X4,)),
    ("AdaptiveAvgPool2d", (1,), {}, (X4,)),
    ("AdaptiveAvgPool3d", (2,), {}, (X5,)),
    ("AdaptiveMaxPool1d", (4,), {}, (X3,)),
    ("AdaptiveMaxPool2d", (3,), {}, (X4,)),
    ("AdaptiveMaxPool3d", (2,), {}, (X5,)),
    ("LPPool1d", (2, 3), {}, (np.abs(X3),)),
    ("LPPool2d", (2, 2), {}, (np.abs(X4),)),
    ("LPPool3d", (3, 2), {}, (np.abs(X5),)),
    ("FractionalMaxPool2d", (2, (4, 3)), {}, (X4,)),
    ("FractionalMaxPool2d", ((2, 3),), {"output_ratio": 0.5, "return_indices": True}, (X4,)),
    ("FractionalMaxPool3d", (2, 2), {}, (X5,)),
    ("BatchNorm1d", (6,), {}, (X2,)),
    ("BatchNorm1d", (4,), {"momentum": None}, (X3,)),
    ("BatchNorm2d", (4,), {}, (X4,)),
    ("BatchNorm2d", (4,), {"affine": False, "track_running_stats": False}, (X4,)),
    ("BatchNorm3d", (4,), {"eps": 1e-3, "momentum": 0.3}, (X5,)),
    ("LayerNorm", (6,), {}, (X2,)),
    ("LayerNorm", ((8, 7),), {"bias": False}, (X4,)),
    ("LayerNorm", (6,), {"elementwise_affine": False}, (X2,)),
    ("GroupNorm", (2, 4), {}, (X4,)),
    ("InstanceNorm1d", (4,), {}, (X3,)),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}, (X4,)),
    ("InstanceNorm3d", (4,), {}, (X5,)),
    ("InstanceNorm2d", (4,), {}, (r(4, 8, 8),)),
    ("RMSNorm", (6,), {}, (X2,)),
    ("RMSNorm", ((8, 7),), {"eps": 1e-3}, (X4,)),
    ("LocalResponseNorm", (2,), {}, (X3,)),
    ("LocalResponseNorm", (3,), {"alpha": 0.1}, (X4,)),
    ("LocalResponseNorm", (3,), {"alpha": 0.1}, (X5,)),
    ("Dropout", (0.4,), {}, (X2,)),
    ("Dropout1d", (0.4,), {}, (X3,)),
    ("Dropout2d", (), {}, (X4,)),
    ("Dropout3d", (), {}, (X5,)),
    ("AlphaDropout", (0.3,), {}, (X2,)),
    ("FeatureAlphaDropout", (0.3,), {}, (X4,)),
    ("ReLU", (), {}, (X2,)),
    ("ReLU6", (), {}, (X2 * 4,)),
    ("LeakyReLU", (0.2,), {}, (X2,)),
    ("ELU", (0.7,), {}, (X2,)),
    ("CELU", (0.7,), {}, (X2,)),
    ("SELU", (), {}, (X2,)),
    ("GELU", (), {}, (X2,)),
    ("GELU", ("tanh",), {}, (X2,)),
    ("SiLU", (), {}, (X2,)),
    ("Mish", (), {}, (X2,)),
    ("Hardswish", (), {}, (X2 * 3,)),
    ("Hardsigmoid", (), {}, (X2 * 3,)),
    ("Hardtanh", (-0.5, 0.7), {}, (X2,)),
    ("Sigmoid", (), {}, (X2,)),
    ("Tanh", (), {}, (X2,)),
    ("Softplus", (2.0, 1.0), {}, (X2,)),
    ("Softshrink", (0.3,), {}, (X2,)),
    ("Hardshrink", (0.3,), {}, (X2,)),
    ("Softsign", (), {}, (X2,)),
    ("Tanhshrink", (), {}, (X2,)),
    ("LogSigmoid", (), {}, (X2,)),
    ("GLU", (1,), {}, (X2,)),
    ("PReLU", (6,), {}, (X2,)),
    ("PReLU", (), {}, (X4,)),
    ("Threshold", (0.1, 20.0), {}, (X2,)),
    ("RReLU", (), {}, (X2,)),
    ("Softmax", (1,), {}, (X2,)),
    ("Softmin", (0,), {}, (X2,)),
    ("LogSoftmax", (-1,), {}, (X2,)),
    ("Softmax2d", (), {}, (X4,)),
    ("Embedding", (10, 5), {"padding_idx": 3}, (ints(10, 4, 3),)),
    ("Embedding", (10, 5), {"max_norm": 1.0}, (ints(10, 6),)),
    ("EmbeddingBag", (10, 5), {}, (ints(10, 4, 3),)),
    ("EmbeddingBag", (10, 5), {"mode": "sum"}, (ints(10, 7), np.array([0, 3, 3]))),
    ("EmbeddingBag", (10, 5), {"mode": "max", "padding_idx": 2}, (ints(10, 4, 3),)),
    ("Upsample", (), {"scale_factor": 2}, (X4,)),
    ("Upsample", (), {"size": (5, 9), "mode": "bilinear"}, (X4,)),
    ("Upsample", (), {"scale_factor": 1.5, "mode": "bicubic", "align_corners": True}, (X4,)),
    ("UpsamplingNearest2d", (), {"scale_factor": 3}, (X4,)),
    ("UpsamplingBilinear2d", (), {"size": 12}, (X4,)),
    ("PixelShuffle", (2,), {}, (X4,)),
    ("PixelUnshuffle", (2,), {}, (r(2, 3, 4, 6),)),
    ("ChannelShuffle", (2,), {}, (X4,)),
    ("Unfold", (3,), {"padding": 1, "stride": 2}, (X4,)),
    ("Fold", ((6, 5), 2), {"stride": 2, "padding": 1}, (r(2, 12, 12),)),
    ("CosineSimilarity", (), {}, (X2, r(4, 6))),
    ("PairwiseDistance", (), {}, (X2, r(4, 6))),
    ("ZeroPad1d", (2,), {}, (X3,)),
    ("ZeroPad2d", ((1, 2, 0, -1),), {}, (X4,)),
    ("ZeroPad3d", (1,), {}, (X5,)),
    ("ConstantPad1d", (2, 3.5), {}, (X3,)),
    ("ConstantPad2d", ((1, 2, 0, 1), -1.0), {}, (X4,)),
    ("ConstantPad3d", (1, 2.0), {}, (X5,)),
    ("ReflectionPad1d", (2,), {}, (X3,)),
    ("ReflectionPad2d", ((1, 2, 0, 3),), {}, (X4,)),
    ("ReflectionPad3d", (1,), {}, (X5,)),
    ("ReplicationPad1d", (2,), {}, (X3,)),
    ("ReplicationPad2d", (3,), {}, (X4,)),
    ("ReplicationPad3d", (1,), {}, (X5,)),
    ("CircularPad1d", (2,), {}, (X3,)),
    ("CircularPad2d", ((1, 2, 3, 0),), {}, (X4,)),
    ("CircularPad3d", (1,), {}, (X5,)),
    ("L1Loss", (), {}, (X2, r(4, 6))),
    ("MSELoss", (), {"reduction": "sum"}, (X2, r(4, 6))),
    ("MSELoss", (), {"reduction": "none"}, (X2, r(4, 6))),
    ("SmoothL1Loss", (), {"beta": 0.5}, (X2, r(4, 6))),
    ("HuberLoss", (), {"delta": 0.5}, (X2, r(4, 6))),
    ("NLLLoss", (), {}, (X2, ints(6, 4))),
    ("NLLLoss", (), {"ignore_index": 1, "reduction": "sum"}, (X4, ints(4, 2, 8, 7))),
    ("CrossEntropyLoss", (), {}, (X2, ints(6, 4))),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.1, "ignore_index": 2}, (X4, ints(4, 2, 8, 7))),
    ("CrossEntropyLoss", (), {}, (X2, PROB / PROB.sum(1, keepdims=True))),
    ("BCELoss", (), {}, (PROB, PROB.round())),
    ("BCEWithLogitsLoss", (), {}, (X2, PROB)),
    ("KLDivLoss", (), {"reduction": "batchmean"}, (X2, PROB)),
    ("KLDivLoss", (), {"reduction": "sum", "log_target": True}, (X2, r(4, 6))),
    ("PoissonNLLLoss", (), {"full": True}, (X2, PROB * 5)),
    ("GaussianNLLLoss", (), {"full": True}, (X2, r(4, 6), PROB)),
    ("HingeEmbeddingLoss", (), {}, (X2, np.sign(r(4, 6)))),
    (
        "MultiLabelMarginLoss",
        (),
        {},
        (X2, np.array([[3, 0, -1, 1, 2, 2], [1, -1, 0, 0, 0, 0], [-1] * 6, [0, 1, 2, 3, 4, 5]])),
    ),
    ("SoftMarginLoss", (), {}, (X2, np.sign(r(4, 6)).astype(np.int64))),
    ("MultiLabelSoftMarginLoss", (), {}, (X2, PROB.round())),
    ("CosineEmbeddingLoss", (), {"margin": 0.2}, (X2, r(4, 6), SIGN)),
    ("MarginRankingLoss", (), {"margin": 0.3}, (r(4), r(4), SIGN)),
    ("MultiMarginLoss", (), {"p": 2}, (X2, ints(6, 4))),
    ("TripletMarginLoss", (), {"swap": True}, (X2, r(4, 6), r(4, 6))),
    ("TripletMarginWithDistanceLoss", (), {}, (X2, r(4, 6), r(4, 6))),
    ("AdaptiveLogSoftmaxWithLoss", (6, 20, [5, 12]), {"div_value": 2.0}, (X2, np.array([3, 17, 7, 0]))),
    ("AdaptiveLogSoftmaxWithLoss", (6, 20, [5]), {"head_bias": True, "div_value": 2.0}, (X2, np.array([3, 1, 2, 0]))),
    ("RNN", (8, 5), {}, (SEQ,)),
    ("RNN", (8, 5, 2), {"nonlinearity": "relu", "batch_first": True, "bias": False}, (SEQ,)),
    ("LSTM", (8, 5), {}, (SEQ,)),
    ("LSTM", (8, 5, 2), {"bidirectional": True}, (SEQ, (r(4, 3, 5), r(4, 3, 5)))),
    ("LSTM", (8, 5), {"proj_size": 3, "bidirectional": True}, (SEQ,)),
    ("LSTM", (8, 5), {}, (r(6, 8),)),
    ("GRU", (8, 5, 2), {"bidirectional": True, "batch_first": True}, (SEQ,)),
    ("GRU", (8, 5), {}, (SEQ, r(1, 3, 5))),
    ("RNNCell", (6, 5), {}, (X2,)),
    ("LSTMCell", (6, 5), {}, (X2, (r(4, 5), r(4, 5)))),
    ("GRUCell", (6, 5), {"bias": False}, (X2, r(4, 5))),
    ("GRUCell", (6, 5), {}, (r(6),)),
    ("MultiheadAttention", (8, 2), {}, (SEQ, SEQ, SEQ)),
    (
        "MultiheadAttention",
        (8, 2),
        {"batch_first": True, "kdim": 6, "vdim": 4, "add_bias_kv": True, "add_zero_attn": True},
        (SEQ, r(5, 4, 6), r(5, 4, 4)),
    ),
    (
        "MultiheadAttention",
        (8, 4),
        {"bias": False},
        (SEQ, SEQ, SEQ, np.array([[0, 0, 0, 0, 1]] * 3, bool), False, mask(5, 5) & False),
    ),
    ("TransformerEncoderLayer", (8, 2, 16), {"dropout": 0.0}, (SEQ,)),
    (
        "TransformerDecoderLayer",
        (8, 2, 16),
        {"dropout": 0.0, "norm_first": True, "activation": "gelu"},
        (SEQ, r(4, 3, 8)),
    ),
    ("Transformer", (8, 2, 1, 2, 16), {"dropout": 0.0, "batch_first": True}, (SEQ, r(5, 4, 8))),
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def build(lib, name, args, kwargs):
    lib.manual_seed(5)
    return getattr(lib.nn, name)(*args, **kwargs)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name,args,kwargs,inputs", CASES, ids=IDS)
def test_layer(name, args, kwargs, inputs):
    def made(lib):  # the same random draws in the same order
        layer = build(lib, name, args, kwargs)
        return [repr(layer), list(layer.state_dict()), list(layer.state_dict().values())]

    against_peer(made, 1e-6, 1e-6)
    for training in (True, False):

        def run(lib, training=training):
            layer = build(lib, name, args, kwargs)
            if not training:  # some steps of running statistics
                layer(*as_lib(lib, list(inputs)))
            layer.train(training)
            lib.manual_seed(9)
            x = as_lib(lib, list(inputs))
            out = layer(*x)
            backward(lib, out)
            grads = [t.grad for t in leaves(x)] + [p.grad for p in layer.parameters()]
            return [out, grads, list(layer.buffers())]

        against_peer(run, 1e-3, 5e-5)


LAZY = [
    ("LazyLinear", (5,), X2),
    ("LazyConv1d", (6, 3), X3),
    ("LazyConv2d", (6, 3), X4),
    ("LazyConv3d", (6, 2), X5),
    ("LazyConvTranspose1d", (6, 3), X3),
    ("LazyConvTranspose2d", (6, 3), X4),
    ("LazyConvTranspose3d", (6, 2), X5),
    ("LazyBatchNorm1d", (), X2),
    ("LazyBatchNorm2d", (), X4),
    ("LazyBatchNorm3d", (), X5),
    ("LazyInstanceNorm1d", (), X3),
    ("LazyInstanceNorm2d", (), X4),
    ("LazyInstanceNorm3d", (), X5),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name,args,x", LAZY, ids=[c[0] for c in LAZY])
def test_lazy_layer(name, args, x):
    def run(lib):
        layer = build(lib, name, args, {})
        lib.manual_seed(2)
        out = layer(lib.tensor(x))
        return [type(layer).__name__, repr(layer), out, list(layer.state_dict().values())]

    against_peer(run)


def test_lazy_loads_state():
    with pytest.warns(UserWarning, match="Lazy"):
        lazy = fs.nn.LazyLinear(3)
    with pytest.raises(RuntimeError, match="uninitialized"):
        _ = lazy.weight.shape
    full = fs.nn.Linear(4, 3)
    lazy.load_state_dict(full.state_dict())
    x = fs.randn(2, 4)
    assert_same(lazy(x), full(x))


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed(mode, enforce_sorted):
    lengths = [6, 4, 2] if enforce_sorted else [3, 6, 2]
    x = np.random.RandomState(4).randn(6, 3, 4).astype(np.float32)

    def run(lib):
        lib.manual_seed(1)
        net = getattr(lib.nn, mode)(4, 5, 2, bidirectional=True)
        rnn = lib.nn.utils.rnn
        packed = rnn.pack_padded_sequence(lib.tensor(x), lengths, enforce_sorted=enforce_sorted)
        out, h = net(packed)
        padded, n = rnn.pad_packed_sequence(out, padding_value=-1.0)
        padded.sum().backward()
        return [packed.data, packed.batch_sizes, out.data, padded, n, h, [p.grad for p in net.parameters()]]

    against_peer(run, 1e-4, 2e-5)


def test_adaptive_softmax():
    m = fs.nn.AdaptiveLogSoftmaxWithLoss(6, 20, [5, 12], div_value=2.0)
    x = fs.tensor(X2)
    full = m.log_prob(x)
    assert_same(full.exp().sum(1), fs.ones(4), 1e-5, 1e-5)
    target = fs.tensor([3, 17, 7, 0])
    assert_same(m(x, target).output, full[fs.arange(4), target])
    assert m.predict(x).tolist() == full.argmax(1).tolist()
    with pytest.raises(RuntimeError, match=r"Target values should be in \[0, 19\]"):
        m(x, target + 5)


def test_data_parallel():
    net = fs.nn.DataParallel(fs.nn.Linear(6, 2))
    assert list(net.state_dict()) == ["module.weight", "module.bias"] and net(fs.tensor(X2)).shape == (4, 2)


@pytest.mark.parametrize(
    "make,x,kind",
    [
        (lambda nn: nn.Linear(0, 3) and nn.Conv2d(3, 4, 3, groups=2), None, ValueError),
        (lambda nn: nn.Conv2d(4, 4, 3, padding="same", stride=2), None, ValueError),
        (lambda nn: nn.Conv2d(4, 4, 3, padding_mode="mirror"), None, ValueError),
        (lambda nn: nn.BatchNorm2d(4), (3, 4), ValueError),
        (lambda nn: nn.BatchNorm1d(4), (3, 4, 2, 2), ValueError),
        (lambda nn: nn.Dropout(1.5), None, ValueError),
        (lambda nn: nn.LSTM(3, 4), (5, 2, 7), RuntimeError),
        (lambda nn: nn.GroupNorm(3, 4), None, ValueError),
        (lambda nn: nn.MultiheadAttention(7, 2), None, AssertionError),
        (lambda nn: nn.Linear(3, 4), (2, 5), RuntimeError),
        (lambda nn: nn.Conv2d(3, 4, 3), (2, 5, 8, 8), RuntimeError),
        (lambda nn: nn.PixelShuffle(2), (1, 3, 4, 4), RuntimeError),
        (lambda nn: nn.ReflectionPad1d(5), (1, 2, 3), RuntimeError),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_input(make, x, kind):
    with pytest.raises(kind):
        layer = make(fs.nn)
        layer(fs.zeros(x))
