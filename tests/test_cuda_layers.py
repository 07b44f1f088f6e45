"""Recurrent layers, attention and a transformer's layer on CUDA against the CPU: results and gradients. Runs on a GPU, or with the emulated plugin."""
import copy

import pytest
from under_test import NO_KERNEL, F, lib, nn

pytestmark = pytest.mark.skipif(not lib.cuda.is_available(), reason="no CUDA device and no emulated plugin")


def tensors_of(x):
    if isinstance(x, (tuple, list)):
        return [t for part in x for t in tensors_of(part)]
    return [] if x is None else [x]


def run(device, f, parameters, inputs, dtype):
    """Results of f, then the gradients of a weighted sum of them, on the CPU in float64."""
    moved = [x.detach().to(device, dtype).requires_grad_() if x.is_floating_point() else x.to(device) for x in inputs]
    results = tensors_of(f(*moved))
    weights = [lib.linspace(-1, 1, r.numel(), dtype=lib.float64).reshape(r.shape).to(device) for r in results]
    lib.stack([(r.double() * w).sum() for r, w in zip(results, weights)]).sum().backward()
    leaves = [*parameters, *(x for x in moved if x.is_floating_point())]
    return [t.detach().cpu().double() for t in [*results, *(x.grad for x in leaves if x.grad is not None)]]


def agree(layer, *inputs, call=None, dtype=lib.float32, tolerance=2e-5):
    """layer (or call(layer, …)) gives the same on both devices, in training mode."""
    layer.zero_grad()
    there = copy.deepcopy(layer).to("cuda")
    call = call or (lambda m, *x: m(*x))
    want = run("cpu", lambda *x: call(layer, *x), list(layer.parameters()), inputs, dtype)
    try:
        got = run("cuda", lambda *x: call(there, *x), list(there.parameters()), inputs, dtype)
    except NotImplementedError as error:
        if NO_KERNEL in str(error):
            pytest.skip(f"{str(error).split(':')[0]}: no CUDA kernel yet")
        raise
    assert len(want) == len(got)
    for w, g in zip(want, got):
        assert w.shape == g.shape
        assert (w - g).abs().max().item() <= tolerance * max(1.0, w.abs().max().item())


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False}],
                         ids=["plain", "stacked", "unbiased"])
def test_recurrent_layers(name, options):
    agree(getattr(nn, name)(3, 4, **options), lib.randn(5, 2, 3))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_initial_states(name):
    def call(m, x, h, c):
        return m(x, (h, c) if name == "LSTM" else h + c)

    agree(getattr(nn, name)(3, 4), lib.randn(5, 2, 3), lib.randn(1, 2, 4), lib.randn(1, 2, 4), call=call)


def test_relu():
    agree(nn.RNN(3, 4, nonlinearity="relu"), lib.randn(5, 2, 3))


def test_projections():
    agree(nn.LSTM(3, 6, proj_size=2), lib.randn(4, 2, 3))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_packed_sequences(name):
    def call(m, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, lib.tensor([2, 5, 3]), enforce_sorted=False)
        y, state = m(packed)
        return nn.utils.rnn.pad_packed_sequence(y)[0], state

    agree(getattr(nn, name)(3, 4, bidirectional=True), lib.randn(5, 3, 3), call=call)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(name):
    agree(getattr(nn, name)(3, 4), lib.randn(2, 3))


def test_dropout_between_layers_is_random():
    layer = nn.LSTM(3, 4, num_layers=2, dropout=0.5).to("cuda")
    x = lib.randn(5, 2, 3).to("cuda")
    with lib.no_grad():
        assert not lib.equal(layer(x)[0], layer(x)[0])
        layer.eval()
        assert lib.equal(layer(x)[0], layer(x)[0])


def test_multihead_attention():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = lib.randn(2, 5, 8)
    agree(attention, x, call=lambda m, q: m(q, q, q, need_weights=False)[0])
    hidden = lib.tensor([[False, False, False, True, True], [False, False, False, False, True]])
    agree(attention, x, hidden, call=lambda m, q, h: m(q, q, q, key_padding_mask=h, need_weights=False)[0])
    later = lib.ones(5, 5, dtype=lib.bool).triu(1)
    agree(attention, x, later, call=lambda m, q, h: m(q, q, q, attn_mask=h, need_weights=False)[0])
    agree(attention, x, call=lambda m, q: m(q, q, q))


@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"}], ids=["after", "before"])
def test_transformer_encoder_layer(options):
    agree(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **options), lib.randn(2, 5, 8),
          tolerance=5e-5)


def test_losses_are_summed():  # the sum begins with a number of no dimensions, like the losses
    losses = [lib.tensor(2.0, device="cuda"), lib.tensor(3.0, device="cuda")]
    assert sum(losses).item() == 5 and sum(losses).is_cuda


class Attend(nn.Module):
    def forward(self, q, k, v, mask=None, **options):
        return F.scaled_dot_product_attention(q, k, v, mask, **options)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 2e-5), ("float16", 1e-2), ("bfloat16", 5e-2)])
@pytest.mark.parametrize("queries, keys, size", [(5, 7, 4), (70, 70, 64), (3, 130, 128)])
def test_attention(dtype, tolerance, queries, keys, size):
    q, k, v = lib.randn(2, 2, queries, size), lib.randn(2, 2, keys, size), lib.randn(2, 2, keys, size)
    attend, common = Attend(), {"dtype": getattr(lib, dtype), "tolerance": tolerance}
    agree(attend, q, k, v, **common)
    agree(attend, q, k, v, call=lambda m, *x: m(*x, is_causal=True), **common)
    agree(attend, q, k, v, lib.rand(2, 1, queries, keys) > 0.3, **common)
    agree(attend, q, k[:, :1], v[:, :1], call=lambda m, *x: m(*x, enable_gqa=True), **common)
