# Random numbers: PyTorch's streams (tables made with PyTorch 2.13), generators, distributions' parameters, dropout.
import hashlib

import numpy as np
import pytest
from under_test import IS_FIRESEED, F, lib, nn, raises_with, to_numpy

# What each call gives right after manual_seed(1234), in row-major order.
STREAMS = {
    "rand(5)": (
        lambda: lib.rand(5),
        [0.0289792418, 0.401898563, 0.259844184, 0.366641343, 0.0583007336],
    ),
    "rand(2, 3) float64": (
        lambda: lib.rand(2, 3, dtype=lib.float64),
        [
            0.2318341720884639, 0.07875386135027063, 0.46640616040796923, 0.41437948768611854,
            0.3904494574879519, 0.2696643593964413
        ],
    ),
    "rand(4) float16": (
        lambda: lib.rand(4, dtype=lib.float16),
        [0.0289764404, 0.401855469, 0.259765625, 0.366699219],
    ),
    "rand(4) bfloat16": (
        lambda: lib.rand(4, dtype=lib.bfloat16),
        [0.0289306641, 0.40234375, 0.259765625, 0.3671875],
    ),
    "uniform_": (
        lambda: lib.empty(4).uniform_(-1, 3),
        [-0.884083033, 0.607594252, 0.0393767357, 0.466565371],
    ),
    "randn(5)": (
        lambda: lib.randn(5),
        [0.0461304635, 0.402402818, -1.01152909, 0.216738239, -0.612273097],
    ),
    "randn(20)": (
        lambda: lib.randn(20),
        [
            -0.111718565, -0.496590108, 0.163073704, -0.88168776, 0.28909719, 0.489870846, -0.385274619,
            -0.712034583, 0.636912644, -0.714080095, -1.0831244, -0.554724216, -1.32481194, 0.696980536,
            -0.66305387, 1.21575689, -2.52733517, 1.47778428, -0.169623628, -0.99185735
        ],
    ),
    "randn(18) float64": (
        lambda: lib.randn(18, dtype=lib.float64),
        [
            -0.0883100793877292, 0.34204875400356316, -1.63476328432313, -0.6107716560720999,
            0.6002920138526922, -0.8768780416078871, 0.964895913336925, -0.1925576631186533,
            0.11481509212436923, -0.19519943298065903, 0.3024866280394751, 1.3121924040486361,
            -0.5610347730799743, 0.1900124208030391, -0.165964817558905, 0.9106620907519217,
            -0.3660114751930042, 0.08526555321521527
        ],
    ),
    "randn(17) float16": (
        lambda: lib.randn(17, dtype=lib.float16),
        [
            -0.111694336, 0.798828125, -0.0922851562, -0.705078125, -1.60253906, 0.2890625, 0.489990234,
            -0.385253906, -0.711914062, -0.170654297, -1.45898438, 0.220703125, 0.24621582, -1.32519531,
            0.696777344, -0.663085938, 1.21582031
        ],
    ),
    "normal_": (
        lambda: lib.empty(3, 6).normal_(2, 0.5),
        [
            1.94414067, 1.75170493, 1.64754009, 1.19881892, 2.14454865, 2.24493551, 1.80736268, 1.64398265,
            2.31845641, 1.64295995, 2.11032963, 2.12312603, 1.33759403, 2.34849024, 1.66847301, 2.60787845,
            0.736332417, 2.73889208
        ],
    ),
    "normal(tensors)": (
        lambda: lib.normal(lib.arange(1.0, 4.0), lib.tensor([0.5, 1.0, 2.0])),
        [1.02306521, 2.40240288, 0.976941824],
    ),
    "randint": (
        lambda: lib.randint(0, 10, (8,)),
        [5, 1, 6, 5, 6, 4, 2, 5],
    ),
    "randint(low)": (
        lambda: lib.randint(-5, 100, (2, 3)),
        [85, 76, 16, 0, 51, 59],
    ),
    "randint wide": (
        lambda: lib.randint(0, 2**40, (3,)),
        [204000912083, 166721346613, 878802328948],
    ),
    "randint int32": (
        lambda: lib.randint(7, (6,), dtype=lib.int32),
        [6, 4, 0, 5, 0, 1],
    ),
    "random_ float": (
        lambda: lib.empty(3).random_(),
        [486142.0, 6742612.0, 4359303.0],
    ),
    "random_ int64": (
        lambda: lib.empty(2, dtype=lib.int64).random_(),
        [3532910284440527571, 2252509165406510133],
    ),
    "random_ uint8": (
        lambda: lib.empty(4, dtype=lib.uint8).random_(),
        [47, 211, 38, 53],
    ),
    "random_ bool": (
        lambda: lib.empty(6, dtype=lib.bool).random_(),
        [True, True, False, True, False, False],
    ),
    "randperm": (
        lambda: lib.randperm(12),
        [3, 1, 8, 5, 2, 6, 0, 7, 11, 9, 4, 10],
    ),
    "randperm int32": (
        lambda: lib.randperm(5, dtype=lib.int32),
        [0, 4, 2, 1, 3],
    ),
    "bernoulli_": (
        lambda: lib.empty(10).bernoulli_(0.3),
        [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    ),
    "bernoulli": (
        lambda: lib.bernoulli(lib.full((10,), 0.3)),
        [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    ),
    "bernoulli float64": (
        lambda: lib.bernoulli(lib.full((10,), 0.3, dtype=lib.float64)),
        [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0],
    ),
    "bernoulli int": (
        lambda: lib.empty(10, dtype=lib.int64).bernoulli_(0.7),
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
    ),
    "exponential_": (
        lambda: lib.empty(4).exponential_(1.5),
        [0.175833091, 0.0546853505, 0.418746889, 0.356722206],
    ),
    "geometric_": (
        lambda: lib.empty(6).geometric_(0.2),
        [7.0, 12.0, 4.0, 4.0, 5.0, 6.0],
    ),
    "cauchy_": (
        lambda: lib.empty(4).cauchy_(1.0, 2.0),
        [-1.24237394, -6.91804552, 0.788136482, 0.448669106],
    ),
    "log_normal_": (
        lambda: lib.empty(4).log_normal_(0.5, 0.25),
        [1.66784537, 1.8232137, 1.28032982, 1.74052107],
    ),
    "multinomial": (
        lambda: lib.multinomial(lib.tensor([0.1, 0.2, 0.3, 0.4]), 3),
        [1, 3, 2],
    ),
    "multinomial replacement": (
        lambda: lib.multinomial(lib.tensor([[0.1, 0.2, 0.7], [3.0, 0.0, 1.0]]), 6, replacement=True),
        [1, 0, 2, 2, 2, 1, 0, 0, 0, 2, 2, 0],
    ),
    "multinomial one": (
        lambda: lib.multinomial(lib.ones(3, 50), 1),
        [25, 5, 4],
    ),
    "dropout": (
        lambda: F.dropout(lib.ones(12), 0.4),
        [
            1.66666663, 1.66666663, 1.66666663, 1.66666663, 1.66666663, 1.66666663, 1.66666663, 1.66666663,
            1.66666663, 0.0, 0.0, 1.66666663
        ],
    ),
    "dropout2d": (
        lambda: F.dropout2d(lib.ones(1, 6, 1, 2), 0.5),
        [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
    ),
    "alpha_dropout": (
        lambda: F.alpha_dropout(lib.ones(6), 0.5, training=True),
        [1.66559887, 1.66559887, 1.66559887, 1.66559887, 1.66559887, 1.66559887],
    ),
    "strided": (
        lambda: lib.empty(3, 2).t().uniform_(),
        [0.0289792418, 0.259844184, 0.0583007336, 0.401898563, 0.366641343, 0.700644732],
    ),
    "linear": (
        lambda: nn.Linear(3, 2).weight,
        [-0.543887913, -0.113277778, -0.277308047, -0.153989315, -0.510030389, 0.23168458],
    ),
    "linear bias": (
        lambda: nn.Linear(3, 2).bias,
        [-0.517539799, -0.0367896445],
    ),
    "conv": (
        lambda: nn.Conv2d(1, 1, 2).weight,
        [-0.471020758, -0.0981014371, -0.240155816, -0.133358657],
    ),
    "embedding": (
        lambda: nn.Embedding(2, 3).weight,
        [0.0461304635, 0.402402818, -1.01152909, 0.216738239, -0.612273097, 0.50361073],
    ),
}


def values(x):
    return [float(v) if x.is_floating_point() else v for v in x.detach().reshape(-1).tolist()]


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_pytorchs(name):
    call, expected = STREAMS[name]
    lib.manual_seed(1234)
    x = call()
    got = values(x)
    if not x.is_floating_point():
        assert got == expected
    else:  # machines without fused multiply-add may differ in the last bit
        np.testing.assert_allclose(got, expected, rtol=1e-3 if x.dtype in (lib.float16, lib.bfloat16) else 5e-7)


def test_long_stream_and_what_follows():
    lib.manual_seed(7)
    x = lib.randn(100003)
    expected = [-0.820134521, 0.395631164, 0.390855253, 0.492377013, 0.701603889]
    np.testing.assert_allclose([x[i].item() for i in (0, 1, 50000, 100001, 100002)], expected, rtol=1e-6)
    assert x.double().sum().item() == pytest.approx(-320.53732282758574, rel=1e-5)
    assert lib.rand(1).item() == pytest.approx(0.586474538, rel=1e-7)


def test_state_has_pytorchs_bytes():
    lib.manual_seed(0)
    lib.randn(3)  # leaves one number of a Box-Muller pair in the state
    state = lib.get_rng_state()
    assert state.dtype == lib.uint8 and tuple(state.shape) == (5056,)
    digest = hashlib.sha256(bytes(state.tolist())).hexdigest()
    assert digest == "5f273c33f4160de64fac7c23955badc140a32e236e861b993e52685fd195d97d"


def test_state_round_trip():
    lib.manual_seed(3)
    lib.randn(5)
    lib.rand(700)
    state = lib.get_rng_state()
    first = [lib.randn(3), lib.rand(1000), lib.randperm(9), lib.randn(40)]
    lib.set_rng_state(state)
    for a, b in zip(first, [lib.randn(3), lib.rand(1000), lib.randperm(9), lib.randn(40)]):
        assert lib.equal(a, b)


def test_set_state_refuses_what_is_none():
    with raises_with(RuntimeError):
        lib.set_rng_state(lib.zeros(5056, dtype=lib.uint8))
    with raises_with(RuntimeError, "5056"):
        lib.set_rng_state(lib.zeros(10, dtype=lib.uint8))
    with pytest.raises(TypeError):
        lib.set_rng_state(lib.zeros(5056))


def test_pieces_join_to_one_stream():
    lib.manual_seed(5)
    whole = lib.rand(3000)
    lib.manual_seed(5)
    parts = lib.cat([lib.rand(n) for n in (1, 622, 1, 1, 623, 624, 625, 503)])
    assert lib.equal(whole, parts)


@pytest.mark.parametrize("n", [16, 17, 31, 32, 33, 640])
def test_normal_draws_a_last_block_anew(n):
    lib.manual_seed(11)
    lib.randn(n)
    after = lib.rand(1).item()
    lib.manual_seed(11)
    lib.rand(n + (16 if n % 16 else 0))
    assert lib.rand(1).item() == after


def test_seeds():
    assert lib.manual_seed(42) is not None
    assert lib.initial_seed() == 42
    lib.manual_seed(-1)
    assert lib.initial_seed() == 2**64 - 1
    assert lib.equal(lib.rand(4), (lib.manual_seed(2**32 - 1), lib.rand(4))[1])  # the low 32 bits count
    chosen = lib.seed()
    assert lib.initial_seed() == chosen
    with pytest.raises((ValueError, RuntimeError)):
        lib.manual_seed(2**64)


def test_generators_are_independent():
    g = lib.Generator()
    g.manual_seed(9)
    lib.manual_seed(9)
    a = lib.rand(5, generator=g)
    lib.rand(100, generator=g)
    assert lib.equal(a, lib.rand(5))
    assert g.initial_seed() == 9
    state = g.get_state()
    b = lib.randperm(20, generator=g)
    g.set_state(state)
    assert lib.equal(b, lib.randperm(20, generator=g))
    x = lib.empty(3).normal_(generator=g)
    assert x.shape == (3,)


def test_fork_rng_restores():
    lib.manual_seed(1)
    lib.rand(3)
    with lib.random.fork_rng():
        lib.manual_seed(99)
        lib.rand(1000)
    after = lib.rand(1)
    lib.manual_seed(1)
    lib.rand(3)
    assert lib.equal(after, lib.rand(1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_moments_and_bounds(dtype):
    dtype = getattr(lib, dtype)
    lib.manual_seed(0)
    u = lib.empty(50000, dtype=dtype).uniform_(-2, 5).double()
    assert u.min().item() >= -2 and u.max().item() < 5
    assert u.mean().item() == pytest.approx(1.5, abs=0.05) and u.std().item() == pytest.approx(7 / 12**0.5, rel=0.02)
    z = lib.empty(50000, dtype=dtype).normal_(1, 3).double()
    assert z.mean().item() == pytest.approx(1, abs=0.06) and z.std().item() == pytest.approx(3, rel=0.02)
    e = lib.empty(50000, dtype=dtype).exponential_(2).double()
    assert e.min().item() >= 0 and e.mean().item() == pytest.approx(0.5, rel=0.03)


def test_same_bits_for_any_number_of_threads():
    threads = lib.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            lib.set_num_threads(n)
            lib.manual_seed(0)
            results.append([lib.rand(300001), lib.randn(300001), lib.randint(0, 77, (300001,)), lib.randperm(70000),
                            F.dropout(lib.ones(300001), 0.3), lib.empty(100001).exponential_()])
    finally:
        lib.set_num_threads(threads)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert lib.equal(a, b)


def test_empty_and_zero_dim():
    lib.manual_seed(0)
    assert lib.rand(0).shape == (0,) and lib.randn(2, 0).shape == (2, 0) and lib.randperm(0).shape == (0,)
    first = lib.rand(()).item()
    lib.manual_seed(0)
    assert lib.rand(1).item() == first  # empty tensors drew nothing


def test_arguments():
    x = lib.rand(2, 3, requires_grad=True)
    assert x.requires_grad and x.shape == (2, 3)
    assert lib.rand((2, 3)).shape == lib.rand([2, 3]).shape == lib.rand(size=(2, 3)).shape == (2, 3)
    assert lib.randn(3, dtype=lib.float64).dtype == lib.float64
    assert lib.rand_like(x).shape == (2, 3) and not lib.rand_like(x).requires_grad
    assert lib.randn_like(x, dtype=lib.float16).dtype == lib.float16
    assert lib.randint_like(x, 5).dtype == lib.float32
    assert lib.randint(3, (4,)).dtype == lib.int64
    assert lib.empty(3).uniform_(to=2.0).max().item() < 2
    assert lib.normal(0.0, 1.0, (3, 2)).shape == (3, 2)
    assert lib.normal(lib.zeros(3), 1.0).shape == (3,) and lib.normal(0.0, lib.ones(3)).shape == (3,)


def test_errors():
    x = lib.empty(3)
    for call, words in [
        (lambda: x.uniform_(2, 1), "uniform_ expects"),
        (lambda: x.normal_(0, -1), "normal expects std >= 0.0"),
        (lambda: x.bernoulli_(1.5), "bernoulli_ expects p"),
        (lambda: lib.bernoulli(lib.tensor([0.5, 2.0])), "[0, 1]"),
        (lambda: x.exponential_(0), "exponential_ expects lambda > 0.0"),
        (lambda: x.geometric_(0), "geometric_ expects p"),
        (lambda: x.cauchy_(0, -1), "cauchy_ expects sigma > 0.0"),
        (lambda: x.log_normal_(0, 0), "log_normal_ expects std > 0.0"),
        (lambda: lib.randint(5, 5, (2,)), "'from' to be less than 'to'"),
        (lambda: lib.empty(2, dtype=lib.uint8).random_(0, 300), "to - 1 is out of bounds"),
        (lambda: lib.randperm(-1), "non-negative"),
        (lambda: lib.multinomial(lib.tensor([-1.0, 2.0]), 1), "probability tensor contains"),
        (lambda: lib.multinomial(lib.zeros(3), 2, replacement=True), "sum of probabilities <= 0"),
        (lambda: lib.multinomial(lib.ones(3), 4), "without replacement"),
        (lambda: lib.multinomial(lib.ones(3), 0), "n_sample <= 0"),
        (lambda: lib.multinomial(lib.ones(2, 2, 2), 1), "1 or 2 dim"),
    ]:
        with raises_with(RuntimeError, words):
            call()


def test_autograd_sees_new_values():
    x = lib.ones(4, requires_grad=True)
    with raises_with(RuntimeError, "leaf"):
        x.uniform_()
    y = x * 2
    y.normal_()
    y.sum().backward()
    assert x.grad is None or values(x.grad) == [0, 0, 0, 0]


def test_multinomial_frequencies():
    lib.manual_seed(0)
    p = lib.tensor([0.1, 0.0, 0.6, 0.3])
    drawn = lib.multinomial(p, 20000, replacement=True)
    share = [(drawn == i).double().mean().item() for i in range(4)]
    np.testing.assert_allclose(share, values(p), atol=0.015)
    all_of_them = lib.multinomial(lib.ones(5, 30), 30)
    assert all(sorted(row) == list(range(30)) for row in all_of_them.tolist())


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_dropout_gradient_is_the_mask(dtype):
    dtype = getattr(lib, dtype)
    lib.manual_seed(0)
    x = lib.ones(40, 7, dtype=dtype).requires_grad_()
    y = F.dropout(x, 0.25)
    kept = y.detach() != 0
    assert 0.6 < kept.double().mean().item() < 0.9
    y.sum().backward()
    assert lib.equal(x.grad != 0, kept)
    assert lib.equal(x.grad, y.detach())


def test_dropout_second_order():
    lib.manual_seed(0)
    x = lib.arange(1.0, 9.0).double().requires_grad_()
    y = F.dropout(x, 0.5)
    (g,) = lib.autograd.grad((y * y).sum(), x, create_graph=True)
    (h,) = lib.autograd.grad(g.sum(), x)
    noise = (y / x).detach()
    np.testing.assert_allclose(to_numpy(h), to_numpy(2 * noise * noise))


def test_dropout_modes():
    x = lib.ones(50)
    assert F.dropout(x, 0.5, training=False) is x or lib.equal(F.dropout(x, 0.5, training=False), x)
    assert lib.equal(F.dropout(x, 0.0), x)
    assert values(F.dropout(x, 1.0)) == [0.0] * 50
    assert lib.isnan(F.dropout(lib.full((50,), float("inf")), 1.0)).all()
    y = x.clone()
    assert F.dropout(y, 0.5, inplace=True) is y and not lib.equal(x, y)
    layer = nn.Dropout(0.5)
    layer.eval()
    assert lib.equal(layer(x), x)
    for p in (-0.1, 1.1):
        with raises_with(ValueError, "probability"):
            F.dropout(x, p)
    z = F.dropout2d(lib.ones(4, 8, 3, 3), 0.5)
    per_channel = z.reshape(32, 9)
    assert all(len(set(row)) == 1 for row in per_channel.tolist())


@pytest.mark.skipif(not IS_FIRESEED, reason="not in PyTorch")
@pytest.mark.parametrize("p", [0.0, 0.3, 0.8, 1.0])
def test_original_dropout(p):
    """Nothing is scaled in training and everything by 1 - p at test time: 1 - p times what inverted dropout gives."""
    x = lib.randn(40, 25, requires_grad=True)
    layer, inverted = nn.OriginalDropout(p), nn.Dropout(p)
    lib.manual_seed(5)
    y = layer(x)
    lib.manual_seed(5)
    assert lib.allclose(y, inverted(x) * (1 - p))  # the same elements
    kept = y != 0
    assert lib.equal(y[kept], x[kept]) and abs(kept.float().mean().item() - (1 - p)) < 0.05
    y.sum().backward()
    assert lib.equal(x.grad, kept.float())
    layer.eval()
    assert lib.equal(layer(x), x * (1 - p))
    z = x.detach().clone()
    assert nn.OriginalDropout(p, inplace=True).eval()(z) is z and lib.equal(z, x * (1 - p))
    lib.manual_seed(5)
    z = x.detach().clone()
    assert F.original_dropout(z, p, inplace=True) is z and lib.equal(z, y)
    assert repr(layer) == f"OriginalDropout(p={p}, inplace=False)"
    for bad in (-0.1, 1.1):
        with raises_with(ValueError, "probability"):
            F.original_dropout(x, bad)
        with raises_with(ValueError, "probability"):
            nn.OriginalDropout(bad)


@pytest.mark.skipif(not IS_FIRESEED, reason="PyTorch follows memory order here")
def test_dropout_does_not_depend_on_memory_layout():
    x = lib.ones(2, 3, 4, 5)
    lib.manual_seed(0)
    a = F.dropout(x, 0.5)
    lib.manual_seed(0)
    b = F.dropout(x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), 0.5)
    assert lib.equal(a, b)
