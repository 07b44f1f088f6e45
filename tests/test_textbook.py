"""What a textbook says of training, word for word: the formulas, and what they are for."""

import pytest
from under_test import IS_FIRESEED, lib

nn, F = lib.nn, lib.nn.functional


def test_gradient_descent_momentum_and_weight_decay():
    """w - n dL/dw; v = a v - n dL/dw, w = w + v; and with an L2 penalty, n * decay * w less at each step."""
    for momentum, decay in [(0.0, 0.0), (0.9, 0.0), (0.9, 0.1)]:
        w = lib.tensor([3.0, -2.0, 0.5], dtype=lib.float64, requires_grad=True)
        optimizer = lib.optim.SGD([w], lr=0.1, momentum=momentum, weight_decay=decay)
        by_hand, v = w.detach().clone(), lib.zeros(3, dtype=lib.float64)
        for _ in range(20):
            optimizer.zero_grad()
            (w**4).sum().div(4).backward()
            optimizer.step()
            v = momentum * v - 0.1 * (by_hand**3 + decay * by_hand)
            by_hand = by_hand + v
        assert lib.allclose(w.detach(), by_hand, rtol=1e-12)


def test_a_batch_has_the_mean_of_its_samples_gradients():
    """Full-batch, mini-batch and single-sample gradients: each is the mean of what it is made of."""
    x, y = lib.randn(12, 5, dtype=lib.float64), lib.randint(0, 3, (12,))
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).to(lib.float64)

    def gradient(rows):
        net.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        return lib.cat([p.grad.flatten() for p in net.parameters()])

    full = gradient(slice(0, 12))
    for size in (1, 3, 4):
        parts = [gradient(slice(i, i + size)) for i in range(0, 12, size)]
        assert lib.allclose(sum(parts) / len(parts), full, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_batch_norm_corrects_the_variance(dims):
    """In training a batch's own mean and variance normalise it; the running variance takes m / (m - 1) of the latter."""
    space = [3] * dims if dims > 1 else []
    x = lib.randn(6, 4, *space, dtype=lib.float64) * 3 + 2
    norm = getattr(nn, f"BatchNorm{dims}d")(4, momentum=0.1).to(lib.float64)
    axes = [0, *range(2, 2 + len(space))]
    shape = (1, 4, *[1] * len(space))
    m = x.numel() // 4
    mean = x.mean(axes)
    variance = ((x - mean.reshape(shape)) ** 2).mean(axes)
    y = norm(x)
    assert lib.allclose(y.mean(axes), lib.zeros(4, dtype=lib.float64), atol=1e-12)
    assert lib.allclose((y**2).mean(axes), variance / (variance + 1e-5))
    assert lib.allclose(norm.running_mean, 0.1 * mean)
    assert lib.allclose(norm.running_var, 0.9 + 0.1 * variance * m / (m - 1))
    with lib.no_grad():  # gamma and beta are learned, and scale and shift at test time too
        norm.weight.fill_(2.0)
        norm.bias.fill_(-1.0)
    norm.eval()
    want = (x - norm.running_mean.reshape(shape)) / (norm.running_var.reshape(shape) + 1e-5).sqrt() * 2 - 1
    assert lib.allclose(norm(x), want)


def test_gradients_vanish_with_sigmoid_and_not_with_relu():
    """Thirty layers: the first one's gradient is nothing with sigmoid, and of the last one's size with ReLU and Kaiming's
    initialisation; too large weights make it explode, and clipping takes it back."""

    def ratio(activation, initialise, depth=30):
        layers = [nn.Linear(32, 32) for _ in range(depth)]
        for layer in layers:
            initialise(layer.weight)
            nn.init.zeros_(layer.bias)
        net = nn.Sequential(*[part for layer in layers for part in (layer, activation())])
        (net(lib.randn(64, 32)) ** 2).mean().backward()
        return layers[0].weight.grad.norm().item() / layers[-1].weight.grad.norm().item(), net

    assert ratio(nn.Sigmoid, nn.init.xavier_uniform_)[0] < 1e-8
    kaiming = lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu")  # noqa: E731
    assert 0.03 < ratio(nn.ReLU, kaiming)[0] < 30
    _, net = ratio(nn.ReLU, lambda w: nn.init.normal_(w, std=1.0), 10)
    assert nn.utils.clip_grad_norm_(net.parameters(), 1.0).item() > 1e6
    assert nn.utils.clip_grad_norm_(net.parameters(), 1.0).item() == pytest.approx(1.0, rel=1e-3)


def test_l1_makes_zeros_and_l2_makes_small():
    """Lasso takes a constant off each weight, and leaves few; ridge takes a share, and leaves all, small."""
    if not IS_FIRESEED:
        pytest.skip("the penalties are not PyTorch's")
    x = lib.randn(200, 8)
    y = x[:, :2] @ lib.tensor([[2.0], [-1.0]])
    found = {}
    for name, l1, l2 in [("none", 0, 0), ("lasso", 0.5, 0), ("ridge", 0, 0.5)]:
        model = nn.Linear(8, 1)
        optimizer = lib.optim.SGD(model.parameters(), lr=0.05)
        for step in range(400):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
            optimizer.zero_grad()
            penalty = l1 * lib.train.l1_penalty(model) + l2 * lib.train.l2_penalty(model)
            (F.mse_loss(model(x), y) + penalty).backward()
            optimizer.step()
        found[name] = model.weight.detach()[0]
    assert lib.allclose(found["none"][:2], lib.tensor([2.0, -1.0]), atol=0.01)
    assert found["lasso"][2:].abs().max() < 1e-3 < found["ridge"][2:].abs().max()
    assert all(found[n][:2].abs().sum() < 2.7 for n in ("lasso", "ridge"))


def test_one_hot_times_a_matrix_is_an_embedding():
    """A category's one-hot vector picks a row of the weights; an embedding looks it up."""
    embedding = nn.Embedding(7, 3)
    words = lib.tensor([[1, 6], [0, 1]])
    assert lib.equal(F.one_hot(words, 7).float() @ embedding.weight, embedding(words))


def test_losses_agree():
    """Cross-entropy is log-softmax and negative log-likelihood; the squared error's sum is what it says."""
    scores, classes = lib.randn(5, 4), lib.randint(0, 4, (5,))
    assert lib.allclose(nn.CrossEntropyLoss()(scores, classes), nn.NLLLoss()(nn.LogSoftmax(1)(scores), classes))
    assert lib.allclose(nn.MSELoss(reduction="sum")(scores, scores * 3), ((scores * 2) ** 2).sum())


def test_chain_rule():
    """dL/dx = dL/dy dy/dx, of partial derivatives, and again for the second derivative."""
    x = lib.tensor([0.3, -1.2], dtype=lib.float64, requires_grad=True)
    y = lib.stack([x[0] * x[1], x[0].exp()])
    loss = (y**2).sum()
    jacobian = lib.tensor([[-1.2, 0.3], [x[0].exp().item(), 0.0]], dtype=lib.float64)
    (gradient,) = lib.autograd.grad(loss, x, create_graph=True)
    assert lib.allclose(gradient, 2 * y @ jacobian)
    (second,) = lib.autograd.grad(gradient[0], x)  # d/dx of 2 x0 x1^2 + 2 exp(2 x0)
    assert lib.allclose(second, lib.stack([2 * x[1] ** 2 + 4 * (2 * x[0]).exp(), 4 * x[0] * x[1]]))
