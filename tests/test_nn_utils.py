# nn.utils: pruning, spectral norms, orthogonal parametrizations, functional_call, skip_init. Keys are PyTorch's.
import importlib

import numpy as np
import pytest
from under_test import LIB_NAME, lib, nn, raises_with, tensor, to_numpy

prune = importlib.import_module(LIB_NAME + ".nn.utils.prune")
parametrize = importlib.import_module(LIB_NAME + ".nn.utils.parametrize")
parametrizations = importlib.import_module(LIB_NAME + ".nn.utils.parametrizations")
stateless = importlib.import_module(LIB_NAME + ".nn.utils.stateless")


def rand(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def linear(out=4, features=6):
    m = nn.Linear(features, out)
    with lib.no_grad():
        m.weight.copy_(tensor(rand(out, features), "float32"))
    return m


def close(got, want, tol=1e-5):
    want = to_numpy(want) if isinstance(want, lib.Tensor) else want
    np.testing.assert_allclose(to_numpy(got), want, rtol=tol, atol=tol)


def test_l1_unstructured():
    m = linear()
    weight = to_numpy(m.weight).copy()
    assert prune.l1_unstructured(m, "weight", 5) is m
    keep = np.abs(weight) > np.sort(np.abs(weight).ravel())[4]
    assert list(m.state_dict()) == ["bias", "weight_orig", "weight_mask"]
    close(m.weight_mask, keep.astype(np.float32))
    close(m.weight, weight * keep)
    assert prune.is_pruned(m) and isinstance(m.weight_orig, nn.Parameter)
    m(lib.ones(2, 6)).sum().backward()
    close(m.weight_orig.grad, 2.0 * keep)
    with lib.no_grad():
        m.weight_orig.mul_(2)
    m(lib.ones(2, 6))
    close(m.weight, 2 * weight * keep)
    prune.remove(m, "weight")
    assert sorted(m.state_dict()) == ["bias", "weight"] and not prune.is_pruned(m)
    assert isinstance(m.weight, nn.Parameter)
    close(m.weight, 2 * weight * keep)


def test_pruning_again_goes_on_from_what_is_left():
    m = linear()
    prune.l1_unstructured(m, "weight", 0.25)
    prune.ln_structured(m, "weight", 1, 2, 0)
    prune.random_unstructured(m, "weight", 2)
    mask = to_numpy(m.weight_mask)
    hooks = [h for h in m._forward_pre_hooks.values() if isinstance(h, prune.BasePruningMethod)]
    assert len(hooks) == 1 and len(hooks[0]) == 3
    assert (mask.sum(1) == 0).sum() >= 1
    assert mask.sum() == (mask != 0).sum() <= 24 - 6 - 2


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_structured(dim):
    m = linear()
    norms = np.abs(rand(4, 6)).sum(1 if dim == 0 else 0)
    prune.ln_structured(m, "weight", 0.5, 1, dim)
    mask = to_numpy(m.weight_mask).all(1 if dim == 0 else 0)
    assert (mask == (norms >= np.sort(norms)[len(norms) // 2])).all()
    m = linear()
    prune.random_structured(m, "weight", 2, dim)
    mask = to_numpy(m.weight_mask)
    assert (mask.all(1 if dim == 0 else 0)).sum() == mask.shape[dim] - 2


def test_masks_scores_and_global_pruning():
    m = linear()
    mask = (rand(4, 6) > 0).astype(np.float32)
    prune.custom_from_mask(m, "weight", tensor(mask))
    close(m.weight_mask, mask)
    m = linear()
    prune.l1_unstructured(m, "weight", 3, importance_scores=tensor(np.arange(24.0).reshape(4, 6)))
    assert to_numpy(m.weight_mask).ravel()[:4].tolist() == [0, 0, 0, 1]
    m = prune.identity(linear(), "bias")
    assert to_numpy(m.bias_mask).all()
    net = nn.Sequential(linear(), linear(3, 4))
    values = np.concatenate([np.abs(to_numpy(layer.weight)).ravel() for layer in net])
    prune.global_unstructured([(layer, "weight") for layer in net], prune.L1Unstructured, amount=10)
    masks = np.concatenate([to_numpy(layer.weight_mask).ravel() for layer in net])
    assert ((values > np.sort(values)[9]) == masks).all()


def test_pruning_errors():
    m = linear()
    with raises_with(ValueError, "amount=1.5"):
        prune.l1_unstructured(m, "weight", 1.5)
    with raises_with(TypeError, "amount"):
        prune.random_unstructured(m, "weight", "all")
    with raises_with(ValueError, "amount=100", "24"):
        prune.l1_unstructured(m, "weight", 100)
    assert isinstance(m.weight, nn.Parameter)
    with raises_with(ValueError, "multidimensional"):
        prune.ln_structured(m, "bias", 1, 2, 0)
    with raises_with(IndexError, "2"):
        prune.random_structured(m, "weight", 1, 2)
    with raises_with(ValueError, "has to be pruned"):
        prune.remove(m, "weight")
    with raises_with(TypeError, "unstructured"):
        prune.global_unstructured([(m, "weight")], prune.LnStructured, amount=1, n=2)


def test_spectral_norm():
    m = nn.utils.spectral_norm(linear(), n_power_iterations=30)
    weight = to_numpy(m.weight_orig)
    assert list(m.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    x = tensor(rand(2, 6), "float32")
    y = m(x)
    close(m.weight, weight / np.linalg.svd(weight)[1][0], 1e-4)
    (y.sum() + m(x).sum()).backward()
    assert m.weight_orig.grad is not None
    m.eval()
    before = to_numpy(m.weight_u).copy()
    m(x)
    close(m.weight_u, before, 0)
    with raises_with(RuntimeError, "two spectral_norm"):
        nn.utils.spectral_norm(m)
    other = nn.utils.spectral_norm(nn.Linear(6, 4))
    other.load_state_dict(m.state_dict())
    close(other.eval()(x), m(x))
    now = to_numpy(m.weight)
    nn.utils.remove_spectral_norm(m)
    assert sorted(m.state_dict()) == ["bias", "weight"]
    close(m.weight, now)
    with raises_with(ValueError, "not found"):
        nn.utils.remove_spectral_norm(m)
    with raises_with(ValueError, "n_power_iterations"):
        nn.utils.spectral_norm(m, n_power_iterations=0)
    assert nn.utils.spectral_norm(nn.ConvTranspose2d(3, 5, 2)).weight_u.shape == (5,)


@pytest.mark.parametrize("orthogonal_map", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6)], ids=str)
def test_orthogonal(shape, orthogonal_map):
    m = parametrizations.orthogonal(linear(*shape), orthogonal_map=orthogonal_map)
    assert list(m.state_dict()) == ["bias", "parametrizations.weight.original", "parametrizations.weight.0.base"]
    k = min(shape)
    for step in range(2):
        q = m.weight if shape[0] >= shape[1] else m.weight.mT
        close(q.mT @ q, np.eye(k))
        assert m.weight.shape == shape
        if step == 0:  # still orthogonal after the original has moved
            m.weight.sin().sum().backward()
            with lib.no_grad():
                original = m.parametrizations.weight.original
                assert original.grad.abs().sum() > 0
                original -= 0.1 * original.grad
    q = np.linalg.qr(rand(max(shape), max(shape), seed=3))[0][: shape[0], : shape[1]]
    m.weight = tensor(q, "float32")
    close(m.weight, q)


def test_orthogonal_without_base():
    m = parametrizations.orthogonal(linear(), orthogonal_map="householder", use_trivialization=False)
    q = np.linalg.qr(rand(6, 4, seed=3))[0].T
    m.weight = tensor(q, "float32")
    close(m.weight, q)
    close(m.weight @ m.weight.mT, np.eye(4))
    with raises_with(NotImplementedError, "use_trivialization=False"):
        n = parametrizations.orthogonal(linear(4, 4), use_trivialization=False)
        n.weight = tensor(np.eye(4), "float32")
    with raises_with(ValueError, "orthogonal_map"):
        parametrizations.orthogonal(linear(), orthogonal_map="x")
    with raises_with(ValueError, "1 dimensions"):
        parametrizations.orthogonal(linear(), "bias")


def test_transfer_of_parametrizations():
    a, b = parametrizations.weight_norm(linear()), linear()
    with lib.no_grad():
        a.parametrizations.weight.original0.mul_(2)

    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    c = linear()
    parametrize.register_parametrization(c, "weight", Doubled())
    parametrize.transfer_parametrizations_and_params(c, b)
    close(b.weight, c.weight)
    assert b.parametrizations.weight.original is c.parametrizations.weight.original
    assert parametrize.transfer_parametrizations_and_params(linear(), b) is b
    assert parametrize.type_before_parametrizations(b) is nn.Linear


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_functional_call():
    m = nn.Sequential(linear(), nn.BatchNorm1d(4))
    own = dict(m.named_parameters())
    x = tensor(rand(5, 6), "float32")
    given = {"0.weight": tensor(rand(4, 6, seed=2), "float32", requires_grad=True),
             "1.running_mean": lib.zeros(4), "1.running_var": lib.ones(4)}
    y = stateless.functional_call(m, given, (x,))
    want = to_numpy(x) @ to_numpy(given["0.weight"]).T + to_numpy(m[0].bias)
    close(y, (want - want.mean(0)) / np.sqrt(want.var(0) + 1e-5), 1e-4)
    assert all(p is own[n] for n, p in m.named_parameters())
    close(given["1.running_mean"], 0.1 * want.mean(0), 1e-5)
    close(m[1].running_mean, np.zeros(4))
    y.square().sum().backward()
    assert given["0.weight"].grad is not None and m[0].weight.grad is None
    with raises_with(RuntimeError, "Missing"):
        stateless.functional_call(m, given, (x,), strict=True)
    stateless.functional_call(m, {"nothing": x}, (x,))
    with pytest.raises(AttributeError):
        stateless.functional_call(m, {"nowhere.weight": x}, (x,))
    with raises_with(RuntimeError, "Unexpected"):
        stateless.functional_call(m, {"nothing": x}, (x,), strict=True)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_functional_call_ties_weights():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(lib.ones(2))
            self.b = self.a

        def forward(self, x, scale=1.0):
            return (self.a + self.b) * x * scale

    m, x = Tied(), lib.ones(2)
    close(stateless.functional_call(m, {"a": 3 * lib.ones(2)}, x), [6.0, 6.0])
    close(stateless.functional_call(m, {"a": 3 * lib.ones(2)}, x, {"scale": 2.0}), [12.0, 12.0])
    close(stateless.functional_call(m, {"a": 3 * lib.ones(2)}, (x,), tie_weights=False), [4.0, 4.0])
    with pytest.raises(ValueError):
        stateless.functional_call(m, {"a": x, "b": 2 * x}, (x,))


def test_skip_init_and_memory_format():
    lib.manual_seed(3)
    want = lib.rand(3)
    lib.manual_seed(3)
    m = nn.utils.skip_init(nn.Linear, 5, 2)
    assert m.weight.shape == (2, 5) and isinstance(m.weight, nn.Parameter)
    close(lib.rand(3), want)
    assert nn.Linear(50, 50).weight.abs().max() <= 1 / np.sqrt(50)
    with pytest.raises(RuntimeError):
        nn.utils.skip_init(nn.ReLU)
    conv = nn.utils.convert_conv2d_weight_memory_format(nn.Sequential(nn.Conv2d(3, 4, 2)), lib.channels_last)
    assert conv[0].weight.is_contiguous(memory_format=lib.channels_last)
    assert conv(lib.ones(1, 3, 4, 4)).shape == (1, 4, 3, 3)


@pytest.mark.parametrize("wrapped", [True, False])
def test_consume_prefix_in_state_dict(wrapped):
    utils = importlib.import_module(LIB_NAME + ".nn.modules.utils")
    inner = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = (nn.DataParallel(inner) if wrapped else inner).state_dict()
    assert all(key.startswith("module.") == wrapped for key in state)
    utils.consume_prefix_in_state_dict_if_present(state, "module.")
    want = inner.state_dict()
    assert list(state) == list(want) and dict(state._metadata) == dict(want._metadata)
    inner.load_state_dict(state)
