# The whole system on one page: data, a small network, training, evaluation, saving and loading.
import numpy as np
import pytest
from under_test import IS_FIRESEED, F, lib, nn

torch = lib  # what a user's script does


def moons(n, generator):
    """Two interleaved half circles with noise: (n, 2) points, (n,) classes."""
    label = torch.arange(n) % 2
    angle = torch.rand(n, generator=generator) * torch.pi
    x = torch.where(label == 0, angle.cos(), 1 - angle.cos())
    y = torch.where(label == 0, angle.sin(), 0.5 - angle.sin())
    return torch.stack([x, y], 1) + 0.1 * torch.randn(n, 2, generator=generator), label


class Net(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(2, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(width, width),
            nn.Tanh(),
        )
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.body(x))


def train(optimizer_of, epochs=20, seed=0):
    torch.manual_seed(seed)
    x, y = moons(512, torch.Generator().manual_seed(1))
    data = torch.utils.data.TensorDataset(x, y)
    train_set, test_set = torch.utils.data.random_split(
        data, [384, 128], generator=torch.Generator().manual_seed(2)
    )
    loader = torch.utils.data.DataLoader(train_set, batch_size=32, shuffle=True)
    net = Net()
    optimizer = optimizer_of(net.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
    losses = []
    for _ in range(epochs):
        net.train()
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
    net.eval()
    with torch.no_grad():
        right = sum(
            (net(xb).argmax(1) == yb).sum().item()
            for xb, yb in torch.utils.data.DataLoader(test_set, batch_size=64)
        )
    return net, losses, right / 128


@pytest.mark.parametrize(
    "name, options",
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("Adam", {"lr": 0.01}),
        ("AdamW", {"lr": 0.01}),
        ("RMSprop", {"lr": 0.005}),
    ],
)
def test_training(name, options):
    net, losses, accuracy = train(lambda p: getattr(torch.optim, name)(p, **options))
    assert accuracy > 0.95 and np.mean(losses[-12:]) < 0.5 * np.mean(losses[:12])


def test_same_seed_same_bits_for_any_number_of_threads():
    runs = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        net, losses, _ = train(lambda p: torch.optim.Adam(p, lr=0.01), epochs=2)
        runs.append((losses, [p.tolist() for p in net.parameters()]))
    if IS_FIRESEED:
        assert runs[0] == runs[1] == runs[2]


def test_state_comes_back():
    net, _, _ = train(lambda p: torch.optim.SGD(p, lr=0.1), epochs=1)
    other = Net()
    other.load_state_dict(net.state_dict())
    x = torch.randn(5, 2)
    assert torch.equal(net(x), other.eval()(x))


def test_convolutional_net():
    """Images of a bright square left or right: conv, batch norm, pooling, dropout; overfits quickly."""
    torch.manual_seed(0)
    y = torch.arange(64) % 2
    x = 0.1 * torch.randn(64, 1, 8, 8)
    for k in range(64):
        x[k, 0, 2:6, 1 + 4 * int(y[k]) : 3 + 4 * int(y[k])] += 1
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 2),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 and (net(x).argmax(1) == y).all()


def test_regression_by_hand():
    """No modules: parameters, a loss and in-place updates under no_grad."""
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 50).unsqueeze(1)
    y = 3 * x + 0.5
    w, b = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(200):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.3 * w.grad
            b -= 0.3 * b.grad
            w.grad.zero_()
            b.grad.zero_()
    assert abs(w.item() - 3) < 1e-3 and abs(b.item() - 0.5) < 1e-3
