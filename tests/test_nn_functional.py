"""nn.functional beside PyTorch's: the functions that are composed in Python, with gradients."""

import fireseed as fs
import numpy as np
import pytest
from parity import against_peer, compare

R = np.random.RandomState(1)


def r(*shape):
    return R.randn(*shape).astype(np.float32)


@pytest.fixture(autouse=True)
def _same_numbers():
    """Each test draws its own numbers, whatever ran before it."""
    R.seed(1)


def F(name, **kwargs):
    """A call of nn.functional.<name> that `compare` can make in both libraries."""
    return lambda lib, *args: getattr(lib.nn.functional, name)(*args, **kwargs)


X3, X4, X5 = r(2, 3, 9), r(2, 3, 6, 7), r(2, 2, 4, 5, 6)
MODES = [
    ("nearest", X3),
    ("nearest", X4),
    ("nearest", X5),
    ("nearest-exact", X4),
    ("linear", X3),
    ("bilinear", X4),
    ("bicubic", X4),
    ("trilinear", X5),
    ("area", X4),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode,x", MODES, ids=[f"{m}-{x.ndim}d" for m, x in MODES])
@pytest.mark.parametrize(
    "how",
    [{"scale_factor": 2}, {"scale_factor": 0.7}, {"size": 5}, {"scale_factor": 1.3, "recompute_scale_factor": True}],
)
def test_interpolate(mode, x, how):
    for corners in (None, True, False) if mode in ("linear", "bilinear", "bicubic", "trilinear") else (None,):
        compare(F("interpolate", mode=mode, align_corners=corners, **how), [x])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 4), (11, 5)])
def test_interpolate_antialias(mode, size):
    compare(F("interpolate", mode=mode, size=size, antialias=True), [X4], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_grid_sample(mode, padding_mode, align_corners):
    grid = r(2, 4, 5, 2) * 0.8
    compare(
        F("grid_sample", mode=mode, padding_mode=padding_mode, align_corners=align_corners),
        [X4, grid],
        1e-3,
        1e-4,
        grads=mode != "nearest",
    )
    if mode != "bicubic":
        compare(
            F("grid_sample", mode=mode, padding_mode=padding_mode, align_corners=align_corners),
            [X5, r(2, 3, 2, 4, 3) * 0.8],
            1e-3,
            1e-4,
            grads=mode != "nearest",
        )


@pytest.mark.parametrize("align_corners", [True, False])
def test_affine_grid(align_corners):
    compare(lambda lib, t: lib.nn.functional.affine_grid(t, (2, 3, 5, 4), align_corners), [r(2, 2, 3)])
    compare(lambda lib, t: lib.nn.functional.affine_grid(t, (2, 3, 5, 4, 3), align_corners), [r(2, 3, 4)])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_loss(reduction):
    def call(lib, x, targets):
        return lib.nn.functional.ctc_loss(x.log_softmax(-1), targets, (8, 6, 3), (3, 2, 1), reduction=reduction)

    targets = np.array([[1, 2, 2], [3, 1, 0], [4, 0, 0]])
    compare(call, [r(8, 3, 5), targets])
    joined = np.array([1, 2, 2, 3, 1, 4])
    compare(call, [r(8, 3, 5), joined])
    compare(
        F("ctc_loss", input_lengths=(8, 6, 3), target_lengths=(3, 2, 1), reduction=reduction),
        [np.log(np.abs(r(8, 3, 5))), targets],
    )


def test_ctc_loss_impossible():
    x, targets = r(2, 1, 4), np.array([[1, 1, 1]])
    for zero in (True, False):

        def run(lib, zero=zero):
            log_probs = lib.tensor(x).log_softmax(-1)
            return lib.nn.functional.ctc_loss(log_probs, lib.tensor(targets), (2,), (3,), zero_infinity=zero).item()

        against_peer(run)


@pytest.mark.parametrize(
    "causal,mask,gqa",
    [(False, None, False), (True, None, False), (False, "bool", False), (False, "float", False), (False, None, True)],
)
def test_attention(causal, mask, gqa):
    q, k, v = r(2, 4, 5, 8), r(2, 2 if gqa else 4, 5, 8), r(2, 2 if gqa else 4, 5, 6)
    args = [q, k, v]
    if mask == "bool":
        m = R.rand(5, 5) > 0.4
        m[2] = False  # a row that sees nothing
        args.append(m)
    elif mask == "float":
        args.append(r(5, 5))

    def call(lib, q, k, v, m=None):
        return lib.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=m, is_causal=causal, enable_gqa=gqa)

    compare(call, args)


CASES = [
    ("normalize", {"p": 3.0, "dim": 0}, [r(4, 5)]),
    ("cosine_similarity", {"dim": 0}, [r(4, 5), r(4, 5)]),
    ("pairwise_distance", {"p": 1.0, "keepdim": True}, [r(4, 5), r(4, 5)]),
    ("pdist", {"p": 1.0}, [r(5, 3)]),
    ("softsign", {}, [X3]),
    ("tanhshrink", {}, [X3]),
    ("gumbel_softmax", {"tau": 0.7, "dim": 1}, [X3]),
    ("gumbel_softmax", {"hard": True}, [X3]),
    ("one_hot", {}, [np.array([[1, 0], [4, 2]])]),
    ("one_hot", {"num_classes": 7}, [np.array([1, 3])]),
    ("rms_norm", {"normalized_shape": (9,)}, [X3]),
    ("local_response_norm", {"size": 3}, [X4]),
    ("pixel_shuffle", {"upscale_factor": 2}, [r(8, 3, 2)]),
    ("unfold", {"kernel_size": (2, 3), "dilation": (1, 2), "padding": 1, "stride": (2, 1)}, [X4]),
    ("fold", {"output_size": (5, 6), "kernel_size": (2, 3)}, [r(2, 12, 16)]),
    ("softmax", {}, [X4]),
    ("log_softmax", {}, [r(3, 4)]),
    ("softmin", {"dim": 1}, [X3]),
    ("soft_margin_loss", {"reduction": "sum"}, [r(4, 3), np.sign(R.randn(4, 3)).astype(np.int64)]),
    ("multi_margin_loss", {"margin": 0.5}, [r(4, 3), np.array([0, 2, 1, 1])]),
    ("multilabel_soft_margin_loss", {"reduction": "none"}, [r(4, 3), (R.rand(4, 3) > 0.5).astype(np.float32)]),
    ("poisson_nll_loss", {"log_input": False}, [np.abs(r(4, 3)), np.abs(r(4, 3))]),
    ("alpha_dropout", {"p": 0.4, "training": True}, [X4]),
    ("dropout2d", {"p": 0.4}, [X4]),
    ("feature_alpha_dropout", {"p": 0.4, "training": True}, [X4]),
    ("max_pool2d", {"kernel_size": 3, "stride": 2, "padding": 1}, [X4]),
    ("avg_pool2d", {"kernel_size": 2}, [X4]),
    ("embedding_bag", {"mode": "mean"}, [np.array([[1, 0, 2], [3, 1, 1]]), r(5, 4)]),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name,kwargs,args", CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_function(name, kwargs, args):
    compare(F(name, **kwargs), args)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_unpool(dims):
    x = r(2, 3, *(6, 5, 4)[:dims])

    def call(lib, x):
        f = lib.nn.functional
        y, at = getattr(f, f"max_pool{dims}d")(x, 2, return_indices=True)
        return getattr(f, f"max_unpool{dims}d")(y, at, 2, output_size=x.shape)

    compare(call, [x])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    "shape,pad",
    [
        ((2, 3, 6), (2, 1)),
        ((2, 3, 6, 5), (1, 2, 3, 0)),
        ((3, 6, 5), (1, 2, 0, 3)),
        ((2, 2, 4, 5, 3), (1, 1, 2, 0, 0, 3)),
    ],
)
def test_pad(mode, shape, pad):
    compare(F("pad", pad=pad, mode=mode), [r(*shape)])


def test_pad_crops():
    compare(F("pad", pad=(-1, 2, 1, -2), value=5.0), [X4])
    with pytest.raises(RuntimeError, match="pad"):
        fs.nn.functional.pad(fs.zeros(2, 3), (-4, 0))


def test_every_loss_checks_reduction():
    with pytest.raises(ValueError, match="reduction"):
        fs.nn.functional.hinge_embedding_loss(fs.zeros(2), fs.ones(2), reduction="avg")


def test_broadcast_loss_warns():
    with pytest.warns(UserWarning, match="target size"):
        fs.nn.functional.mse_loss(fs.zeros(4, 1), fs.zeros(4))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("rows", [3, 40])
def test_softmax_of_very_negative_rows(dtype, rows):
    """exp(-x) of the first maximum overflows, and what stands before it is -inf: neither may leave a NaN."""
    x = fs.full((rows, 2500), -2000.0, dtype=getattr(fs, dtype))
    x[: rows // 2, :5] = -float("inf")
    for y, dim in ((x, 0), (x.t().contiguous(), 1)):
        p, log_p, top = fs.softmax(y, dim).double(), fs.log_softmax(y, dim).double(), fs.logsumexp(y, dim).double()
        np.testing.assert_allclose(p.sum(dim).numpy(), 1, rtol=2e-2)
        np.testing.assert_allclose(log_p.exp().sum(dim).numpy(), 1, rtol=3e-2)
        np.testing.assert_allclose(top.numpy(), -2000, rtol=1e-2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("rows", [3, 40])
def test_softmax_of_infinite_elements(dtype, rows):
    """Where the largest element is infinite, or none is a number, a column has no softmax, as a row has none."""
    x = fs.full((rows, 7), -500.0, dtype=getattr(fs, dtype))
    x[rows - 1, 0] = float("inf")
    x[rows - 1, 1] = float("nan")
    x[rows - 1, 2] = -float("inf")
    for y, dim in ((x, 0), (x.t().contiguous(), 1)):
        for f in (fs.softmax, fs.log_softmax):
            nan = f(y, dim).double().isnan().sum(dim).tolist()
            assert nan == [rows, rows, 0, 0, 0, 0, 0], (f, dim)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("n", [4, 300])
def test_rms_norm_of_infinity(dtype, n):
    x = fs.ones(2, n, dtype=getattr(fs, dtype))
    x[0, 1] = float("inf")
    y = fs.nn.functional.rms_norm(x, [n]).double()
    assert y[0].isnan().tolist() == [i == 1 for i in range(n)]
    assert y[0, 0].item() == 0
    np.testing.assert_allclose(y[1].numpy(), 1, rtol=1e-2)


def test_hardtanh_of_unsigned_integers():
    x = fs.tensor([3, 9], dtype=fs.uint8)
    assert fs.nn.functional.relu6(x).tolist() == [3, 6]
    with pytest.raises(RuntimeError, match="unsigned type with negative limits"):
        fs.nn.functional.hardtanh(x)
