"""Three networks trained for 50 steps with 1, 2 and 3 threads end in the same bits."""
import hashlib

import pytest
from under_test import IS_FIRESEED
from under_test import lib as torch

nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.skipif(not IS_FIRESEED, reason="PyTorch does not promise it")


def mlp():
    """Batches and layers large enough that every kernel is shared among threads; dropout."""
    net = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Dropout(0.2), nn.LayerNorm(512), nn.Linear(512, 10))
    x, y = torch.randn(256, 256), torch.randint(0, 10, (256,))
    return net, torch.optim.Adam(net.parameters(), lr=1e-3), lambda: F.cross_entropy(net(x), y)


def cnn():
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(), nn.Dropout2d(0.1), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(32 * 9, 10),
    )  # fmt: skip
    x, y = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
    return net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), lambda: F.cross_entropy(net(x), y)


class Sequence(nn.Module):
    """Tokens through an LSTM and causal attention to tokens."""

    def __init__(self):
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(50, 64), nn.LSTM(64, 64, batch_first=True), nn.Linear(64, 50)

    def forward(self, tokens):
        x, _ = self.rnn(self.embed(tokens))
        heads = x.view(*x.shape[:2], 4, 16).transpose(1, 2)
        a = F.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
        return self.head(x + a.transpose(1, 2).reshape(x.shape))


def sequence():
    net, tokens = Sequence(), torch.randint(0, 50, (16, 49))
    x, y = tokens[:, :-1], tokens[:, 1:].reshape(-1)
    return net, torch.optim.AdamW(net.parameters(), lr=2e-3), lambda: F.cross_entropy(net(x).reshape(-1, 50), y)


def digest(make, threads):
    """SHA-256 of all losses and of the state dict after 50 steps."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net, optimizer, loss_of = make()
    h, losses = hashlib.sha256(), []
    for _ in range(50):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for name, value in net.state_dict().items():
        h.update(name.encode() + value.numpy().tobytes())
    assert losses[-1] < 0.9 * losses[0]
    return h.hexdigest(), losses


@pytest.mark.parametrize("make", [mlp, cnn, sequence])
def test_fifty_steps_end_in_the_same_bits(make):
    first = digest(make, 1)
    assert digest(make, 2) == first
    assert digest(make, 3) == first
