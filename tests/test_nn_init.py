"""nn.init and nn.utils: formulas, and PyTorch's draws for one seed."""

import importlib
import math

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn
from parity import against_peer, assert_same, compare

DRAWS = [
    ("uniform_", (-1.0, 2.0)),
    ("normal_", (1.0, 2.0)),
    ("trunc_normal_", (0.0, 1.0, -0.5, 1.5)),
    ("trunc_normal_", (0.0, 1.0, 2.0, 3.0)),
    ("xavier_uniform_", (2.0,)),
    ("xavier_normal_", ()),
    ("kaiming_uniform_", (0.1, "fan_out")),
    ("kaiming_normal_", (0, "fan_in", "relu")),
    ("sparse_", (0.3,)),
]


@pytest.mark.parametrize("name,args", DRAWS, ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (20, 30)])
def test_draws(name, args, shape):
    def run(lib):
        lib.manual_seed(4)
        t = lib.empty(*shape)
        assert getattr(lib.nn.init, name)(t, *args) is t
        return t

    against_peer(run, 1e-5, 1e-6)


def test_fixed():
    i = nn.init
    assert i.constant_(fs.empty(2), 3).tolist() == [3, 3] and i.ones_(fs.empty(2)).tolist() == [1, 1]
    assert i.zeros_(fs.ones(2)).tolist() == [0, 0] and i.eye_(fs.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    w = i.dirac_(fs.empty(4, 2, 3), groups=2)
    assert w.sum().item() == 4 and w[3, 1, 1].item() == 1
    p = nn.Parameter(fs.empty(3, 3))
    i.normal_(p)
    assert p.requires_grad and p.grad_fn is None
    assert i.calculate_gain("tanh") == 5 / 3 and i.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    for bad in (
        lambda: i.eye_(fs.empty(2)),
        lambda: i.dirac_(fs.empty(2, 2)),
        lambda: i.xavier_uniform_(fs.empty(3)),
        lambda: i.calculate_gain("x"),
        lambda: i.kaiming_normal_(fs.empty(2, 2), mode="fan"),
        lambda: i.orthogonal_(fs.empty(3)),
    ):
        with pytest.raises(ValueError):
            bad()


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 2)])
def test_orthogonal(shape):
    def run(lib):
        lib.manual_seed(4)
        return lib.nn.init.orthogonal_(lib.empty(*shape), gain=2.0)

    against_peer(run, 1e-4, 1e-5)


@pytest.mark.parametrize("norm", [2.0, 1.0, math.inf])
def test_clip_grad_norm(norm):
    def run(lib):
        rng = np.random.RandomState(0)
        ps = [lib.zeros(3, 2, requires_grad=True), lib.zeros(4, requires_grad=True), lib.zeros(1, requires_grad=True)]
        for p in ps[:2]:
            p.grad = lib.tensor(rng.randn(*p.shape).astype(np.float32) * 5)
        total = lib.nn.utils.clip_grad_norm_(ps, 1.5, norm)
        clipped = [p.grad.clone() for p in ps[:2]]
        lib.nn.utils.clip_grad_value_(ps, 0.1)
        return [total, clipped, [p.grad for p in ps[:2]]]

    against_peer(run)


def test_clip_nonfinite():
    p = fs.zeros(2, requires_grad=True)
    p.grad = fs.tensor([math.inf, 1.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_([], 1.0)


def test_parameters_to_vector():
    net = nn.Linear(3, 2)
    v = nn.utils.parameters_to_vector(net.parameters())
    assert v.shape == (8,)
    nn.utils.vector_to_parameters(fs.arange(8.0), net.parameters())
    assert net.weight.tolist() == [[0, 1, 2], [3, 4, 5]] and net.bias.tolist() == [6, 7]
    assert isinstance(net.weight, nn.Parameter)


def test_fusion():
    conv, bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    x = fs.randn(2, 3, 6, 6)
    bn(conv(x))  # some running statistics
    net = nn.Sequential(conv, bn).eval()
    assert_same(nn.utils.fuse_conv_bn_eval(conv, bn)(x), net(x), 1e-4, 1e-5)
    lin, norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
    y = fs.randn(5, 3)
    norm(lin(y))
    net = nn.Sequential(lin, norm).eval()
    assert_same(nn.utils.fuse_linear_bn_eval(lin, norm)(y), net(y), 1e-4, 1e-5)
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        nn.utils.fuse_conv_bn_eval(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("which", ["weight_norm", "parametrizations.weight_norm", "parametrizations.spectral_norm"])
def test_reparametrized(which):
    x = np.random.RandomState(3).randn(4, 3).astype(np.float32)
    *path, name = which.split(".")

    def run(lib):
        lib.manual_seed(0)
        place = importlib.import_module(".".join([lib.__name__, "nn", "utils", *path]))
        m = getattr(place, name)(lib.nn.Linear(3, 5))
        out = m(lib.tensor(x))
        (out * out).sum().backward()
        return [list(m.state_dict()), out, m.weight, [p.grad for p in m.parameters()]]

    against_peer(run, 1e-3, 1e-5)


def test_parametrize():
    from fireseed.nn.utils import parametrize

    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, x):
            return x.triu()

    m = nn.Linear(3, 3)
    parametrize.register_parametrization(m, "weight", Symmetric())
    assert (
        fs.equal(m.weight, m.weight.t())
        and parametrize.is_parametrized(m, "weight")
        and repr(m).startswith("ParametrizedLinear(")
    )
    m.weight = fs.ones(3, 3)
    assert m.parametrizations.weight.original.tolist() == [[1, 1, 1], [0, 1, 1], [0, 0, 1]]
    m(fs.ones(1, 3)).sum().backward()
    assert m.parametrizations.weight.original.grad is not None
    assert [n for n, _ in m.named_parameters()] == ["bias", "parametrizations.weight.original"]
    parametrize.remove_parametrizations(m, "weight")
    assert type(m) is nn.Linear and isinstance(m.weight, nn.Parameter) and m.weight.tolist() == [[1] * 3] * 3


def test_remove_weight_norm():
    m = nn.Linear(3, 5)
    w = m.weight.detach().clone()
    nn.utils.weight_norm(m)
    assert sorted(n for n, _ in m.named_parameters()) == ["bias", "weight_g", "weight_v"]
    nn.utils.remove_weight_norm(m)
    assert_same(m.weight, w, 1e-5, 1e-6) and isinstance(m.weight, nn.Parameter)


def test_sequences():
    rnn = nn.utils.rnn
    parts = [fs.arange(3.0), fs.arange(5.0), fs.arange(2.0)]
    padded = rnn.pad_sequence(parts, batch_first=True, padding_value=-1)
    assert padded.tolist() == [[0, 1, 2, -1, -1], [0, 1, 2, 3, 4], [0, 1, -1, -1, -1]]
    assert rnn.pad_sequence(parts, padding_side="left")[0].tolist() == [0, 0, 0]
    assert [p.tolist() for p in rnn.unpad_sequence(padded, fs.tensor([3, 5, 2]), True)] == [p.tolist() for p in parts]
    packed = rnn.pack_sequence(parts, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 3, 2, 1, 1]
    assert [p.tolist() for p in rnn.unpack_sequence(packed)] == [p.tolist() for p in parts]
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        rnn.pack_sequence(parts)
    compare(
        lambda lib, a, b: lib.nn.utils.rnn.pad_sequence([a, b]),
        [np.ones((3, 2), np.float32), np.ones((1, 2), np.float32)],
    )
