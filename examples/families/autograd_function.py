"""A custom autograd Function: a network whose hidden weights and activations are single bits, +1 or -1.

    python examples/families/autograd_function.py [--torch] [--quick] [--steps 1200] [--seed 0]

The sign function has no useful gradient. `Sign` gives it one: the straight-through estimator (Bengio, Leonard,
Courville 2013), as binarised networks use it (Courbariaux et al. 2016). A second Function, `Swish`, has an exact
gradient, written by hand, which `gradcheck` compares with differences. Data: scikit-learn's 1797 digits.
"""
from common import F, accuracy, arguments, batches, digits, nn, progress, report, torch


class Sign(torch.autograd.Function):
    """+1 or -1. Backward: as if it were x, within -1..1."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class Swish(torch.autograd.Function):
    """x sigmoid(beta x), with beta a Python number."""

    @staticmethod
    def forward(ctx, x, beta):
        s = torch.sigmoid(beta * x)
        ctx.save_for_backward(x, s)
        ctx.beta = beta
        return x * s

    @staticmethod
    def backward(ctx, grad):
        x, s = ctx.saved_tensors
        return grad * (s + ctx.beta * x * s * (1 - s)), None  # None: beta is no tensor


class BinaryLinear(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-0.5, 0.5))

    def forward(self, x):
        return F.linear(x, Sign.apply(self.weight))


class BinaryNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden1, self.norm1 = BinaryLinear(64, 256), nn.BatchNorm1d(256)
        self.hidden2, self.norm2 = BinaryLinear(256, 256), nn.BatchNorm1d(256)
        self.head = nn.Linear(256, 10)

    def forward(self, x):  # (N, 1, 8, 8)
        x = Sign.apply(self.norm1(self.hidden1(x.flatten(1))))  # (N, 256) of +1 and -1
        x = Swish.apply(self.norm2(self.hidden2(x)), 1.5)
        return self.head(x)


def main():
    args = arguments(__doc__, steps=1200, quick=200)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    print("gradcheck of Swish:", torch.autograd.gradcheck(lambda x: Swish.apply(x, 1.5), (x,)))

    (x, y), (x_test, y_test) = digits()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=64, shuffle=True)
    model = BinaryNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    losses = []
    for images, classes in batches(loader, args.steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for layer in (model.hidden1, model.hidden2):
                layer.weight.clamp_(-1, 1)
        losses.append(loss.item())
        progress(args, losses)
    report(args, losses, "test accuracy", accuracy(model, x_test, y_test), full=0.95, quick=0.85)


if __name__ == "__main__":
    main()
