"""Automatic mixed precision: cast policies, the cache, gradients, Functions, GradScaler."""
import math
import pickle
import warnings

import pytest
from under_test import IS_FIRESEED, F, lib, nn

HALVES = [lib.bfloat16, lib.float16]


def autocast(**options):
    return lib.autocast("cpu", **options)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_products_run_in_the_lower_dtype(half):
    x, w, b = lib.randn(4, 3), lib.randn(5, 3), lib.randn(5)
    with autocast(dtype=half):
        for y in (F.linear(x, w, b), x @ w.t(), lib.mm(x, w.t()), lib.addmm(b, x, w.t()), lib.bmm(x[None], w.t()[None]),
                  F.conv1d(x[None], lib.randn(2, 4, 2)), F.scaled_dot_product_attention(x, x, x), nn.LSTM(3, 2)(x)[0]):
            assert y.dtype == half
        assert (lib.matmul(x, w.t()) - (x.to(half) @ w.t().to(half))).abs().max() == 0
        assert x.double().matmul(w.t().double()).dtype == lib.float64  # float64 is left alone
    assert (x @ w.t()).dtype == lib.float32


def test_losses_run_in_float32():
    x = lib.randn(4, 5).bfloat16()
    target = lib.tensor([0, 1, 2, 3])
    with autocast():
        losses = [F.cross_entropy(x, target), F.mse_loss(x, x * 0), F.l1_loss(x, x * 0), F.smooth_l1_loss(x, x * 0),
                  F.nll_loss(x, target), F.kl_div(x, x.softmax(-1)), F.binary_cross_entropy_with_logits(x, x * 0),
                  F.binary_cross_entropy(x.sigmoid(), x * 0), F.hinge_embedding_loss(x, lib.ones(4, 5))]
        assert all(loss.dtype == lib.float32 for loss in losses)
        assert lib.prod(x).dtype == lib.float32
    assert F.mse_loss(x, x * 0).dtype == lib.bfloat16


def test_what_has_no_policy_keeps_its_dtype():
    x = lib.randn(4, 5)
    with autocast():
        h = x @ x.t()
        for y in (F.relu(h), F.gelu(h), h + h, h * 2, h.exp(), h.softmax(-1), F.layer_norm(h, (4,)), h.sum()):
            assert y.dtype == lib.bfloat16
        assert (h + h.float()).dtype == lib.float32
        assert lib.cat([h, h.float()]).dtype == lib.float32 and lib.stack([h, h]).dtype == lib.bfloat16
        y = lib.zeros(4, 4)
        y += h  # in place: the dtype stays
        assert y.dtype == lib.float32


def test_nesting_and_decorator():
    x = lib.randn(3, 3)
    assert not lib.is_autocast_enabled("cpu")
    with autocast():
        assert lib.is_autocast_enabled("cpu") and lib.get_autocast_dtype("cpu") == lib.bfloat16
        with autocast(enabled=False):
            assert (x @ x).dtype == lib.float32
            with autocast(dtype=lib.float16):
                assert (x @ x).dtype == lib.float16
        assert (x @ x).dtype == lib.bfloat16
    assert not lib.is_autocast_enabled("cpu")

    @autocast()
    def product(a):
        return a @ a

    assert product(x).dtype == lib.bfloat16 and product.__name__ == "product"
    context = autocast()
    with pytest.raises(ZeroDivisionError), context:
        assert 1 / 0
    assert not lib.is_autocast_enabled("cpu") and (x @ x).dtype == lib.float32
    with context, context:
        assert (x @ x).dtype == lib.bfloat16
    assert (x @ x).dtype == lib.float32


def test_gradients_have_the_parameters_dtype():
    m = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    x, target = lib.randn(16, 6), lib.arange(16) % 3
    with autocast():
        loss = F.cross_entropy(m(x), target)
    loss.backward()
    want = [p.grad.clone() for p in m.parameters()]
    m.zero_grad()
    F.cross_entropy(m(x), target).backward()
    for p, low in zip(m.parameters(), want):
        assert low.dtype == lib.float32 and p.grad.dtype == lib.float32
        assert (low - p.grad).abs().max() < 0.02 * max(1.0, float(p.grad.abs().max()))


def test_casts_of_parameters_are_kept_within_the_block():
    w, x = lib.randn(4, 4, requires_grad=True), lib.randn(2, 4)

    def sources(y):
        seen, todo = set(), [y.grad_fn]
        while todo:
            n = todo.pop()
            if n is None or n in seen:
                continue
            seen.add(n)
            todo += [m for m, _ in n.next_functions]
        return {n for n in seen if "Accumulate" not in n.name()}

    def casts(a, b):
        return len(sources(a) & sources(b))

    with autocast():
        a, b = F.linear(x, w), F.linear(x, w)
    assert casts(a, b) == 1
    with autocast(cache_enabled=False):
        c, d = F.linear(x, w), F.linear(x, w)
    assert casts(c, d) == 0
    with autocast():
        e = F.linear(x, w)
    assert casts(a, e) == 0  # the cache ended with its block
    (a.sum() + b.sum()).backward()
    assert w.grad.dtype == lib.float32


@pytest.mark.skipif(not IS_FIRESEED, reason="PyTorch keeps the old value")
def test_a_parameter_changed_within_the_block_is_cast_again():
    w, x = lib.ones(2, 2, requires_grad=True), lib.ones(1, 2)
    with autocast():
        assert F.linear(x, w).tolist() == [[2.0, 2.0]]
        with lib.no_grad():
            w.fill_(3)
        assert F.linear(x, w).tolist() == [[6.0, 6.0]]


def test_no_grad_inside_does_not_cut_the_cached_cast():
    w, x = lib.randn(3, 3, requires_grad=True), lib.randn(2, 3)
    with autocast():
        with lib.no_grad():
            F.linear(x, w)
        y = F.linear(x, w)
    y.sum().backward()
    assert w.grad is not None


def test_backward_inside_the_block():
    w, x = lib.randn(3, 3, requires_grad=True), lib.randn(2, 3)
    with autocast():
        F.linear(x, w).float().sum().backward()
    assert w.grad.dtype == lib.float32
    assert (w.grad - x.bfloat16().float().sum(0).expand(3, 3)).abs().max() < 0.05


def test_custom_functions():
    seen = []

    class Scale(lib.autograd.Function):
        @staticmethod
        @lib.amp.custom_fwd(device_type="cpu", cast_inputs=lib.float32)
        def forward(ctx, x):
            seen.append((x.dtype, lib.is_autocast_enabled("cpu")))
            return x * 2

        @staticmethod
        @lib.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            seen.append(lib.is_autocast_enabled("cpu"))
            return g * 2

    x = lib.ones(2, 2, requires_grad=True)
    with autocast():
        y = Scale.apply(x @ x)
    y.sum().backward()
    assert seen == [(lib.float32, False), False] and y.dtype == lib.float32


def test_wrong_arguments():
    with pytest.raises(ValueError, match="device_type"):
        lib.autocast(3)
    with pytest.raises(RuntimeError, match="unsupported autocast device_type"):
        lib.autocast("tpu")
    with pytest.warns(UserWarning, match="not supported. Disabling"):
        context = autocast(dtype=lib.float64)
    with context:
        assert (lib.ones(2, 2) @ lib.ones(2, 2)).dtype == lib.float32
    assert lib.amp.is_autocast_available("cpu") and not lib.amp.is_autocast_available("tpu")


@pytest.mark.skipif(lib.cuda.is_available(), reason="CUDA is there")
def test_autocast_for_cuda_without_cuda_warns_and_does_nothing():
    with pytest.warns(UserWarning, match="CUDA is not available"):
        context = lib.autocast("cuda")
    with context:
        assert (lib.ones(2, 2) @ lib.ones(2, 2)).dtype == lib.float32


def scaler(**options):
    return lib.amp.GradScaler("cpu", **{"init_scale": 8.0, "growth_interval": 2, **options})


def test_scaler_scales_unscales_and_adapts():
    p = nn.Parameter(lib.ones(3))
    opt = lib.optim.SGD([p], lr=1.0)
    s = scaler()
    assert s.get_scale() == 8.0
    s.scale((p * lib.tensor([1.0, 2.0, 3.0])).sum()).backward()
    assert p.grad.tolist() == [8.0, 16.0, 24.0]
    s.unscale_(opt)
    assert p.grad.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(RuntimeError, match="already been called"):
        s.unscale_(opt)
    s.step(opt)
    assert p.tolist() == [0.0, -1.0, -2.0]
    with pytest.raises(RuntimeError, match="already been called"):
        s.step(opt)
    s.update()
    assert s.get_scale() == 8.0
    for _ in range(1):
        opt.zero_grad()
        s.scale(p.sum()).backward()
        s.step(opt)
        s.update()
    assert s.get_scale() == 16.0  # after growth_interval good steps


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_scaler_skips_steps_that_overflowed(bad):
    p, q = nn.Parameter(lib.ones(3)), nn.Parameter(lib.ones(2))
    opt = lib.optim.Adam([p, q], lr=0.1)
    s = scaler()
    s.scale(p.sum() + q.sum()).backward()
    p.grad[1] = bad
    assert s.step(opt) is None
    assert p.tolist() == [1.0] * 3 and q.tolist() == [1.0] * 2
    s.update()
    assert s.get_scale() == 4.0
    opt.zero_grad()
    s.scale(p.sum() + q.sum()).backward()
    s.step(opt)
    assert p.tolist() != [1.0] * 3
    s.update(new_scale=lib.tensor(2.0))
    assert s.get_scale() == 2.0


def test_scaler_state_and_lists():
    s = scaler()
    a, b = s.scale([lib.ones(1), (lib.ones(2), lib.ones(1))])
    assert a.item() == 8.0 and b[0].tolist() == [8.0, 8.0] and isinstance(b, tuple)
    state = s.state_dict()
    assert state == {"scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2, "_growth_tracker": 0}
    other = lib.amp.GradScaler("cpu")
    other.load_state_dict({**state, "scale": 32.0, "_growth_tracker": 1})
    assert other.get_scale() == 32.0 and other.scale(lib.ones(())).item() == 32.0
    again = pickle.loads(pickle.dumps(other))
    assert again.get_scale() == 32.0 and again.state_dict() == other.state_dict()
    with pytest.raises(RuntimeError, match="empty"):
        other.load_state_dict({})


def test_scaler_without_effect():
    s = lib.amp.GradScaler("cpu", enabled=False)
    x = lib.ones(2)
    assert s.scale(x) is x and s.get_scale() == 1.0 and s.state_dict() == {} and not s.is_enabled()
    p = nn.Parameter(lib.ones(1))
    opt = lib.optim.SGD([p], lr=1.0)
    p.sum().backward()
    s.step(opt)
    s.update()
    assert p.item() == 0.0
    if not lib.cuda.is_available():
        with pytest.warns(UserWarning, match="not available"):
            assert not lib.amp.GradScaler().is_enabled()


def test_scaler_refuses_half_gradients_and_wrong_order():
    p = nn.Parameter(lib.ones(2).half())
    opt = lib.optim.SGD([p], lr=1.0)
    s = scaler()
    with pytest.raises(AssertionError, match="scale"):
        s.step(opt)
    s.scale(p.sum()).backward()
    with pytest.raises(ValueError, match="FP16"):
        s.unscale_(opt)


def test_training_in_mixed_precision_learns():
    lib.manual_seed(0)
    x = lib.randn(128, 8)
    y = (x[:, 0] * x[:, 1] > 0).long()
    m = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 2))
    opt = lib.optim.AdamW(m.parameters(), lr=1e-2)
    s = lib.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(100):
        opt.zero_grad()
        with autocast(dtype=lib.float16):
            loss = F.cross_entropy(m(x), y)
        s.scale(loss).backward()
        s.unscale_(opt)
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        s.step(opt)
        s.update()
    assert loss.item() < 0.2


def test_old_names():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with lib.cpu.amp.autocast():
            assert (lib.ones(2, 2) @ lib.ones(2, 2)).dtype == lib.bfloat16
        assert lib.get_autocast_cpu_dtype() == lib.bfloat16 and not lib.is_autocast_cpu_enabled()
        assert not lib.cuda.amp.GradScaler(enabled=False).is_enabled()
        with lib.cuda.amp.autocast(enabled=False):
            assert (lib.ones(2, 2) @ lib.ones(2, 2)).dtype == lib.float32
