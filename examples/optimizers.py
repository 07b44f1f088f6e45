"""Every way down: gradient descent, SGD, momentum, Nesterov, AdaGrad, RMSprop, Adam and their kin on the same problems.

    python examples/optimizers.py [--quick] [--out .]

What to see in optimizers.png. Top: paths over a real loss surface with two weights, all from the same start. The two
inputs (total and LDL cholesterol of 442 patients) are correlated, which makes a narrow valley: gradient descent
zigzags or creeps, SGD shakes, momentum (v = a v - n dL/dw, w = w + v) swings through, and those with a rate for each
weight go their own ways. AdaGrad's steps shrink for good, RMSprop's do not, Adam is RMSprop with momentum. Bottom: the
training loss of a small network on handwritten digits, all from the same weights. Needs scikit-learn and matplotlib.
"""
import argparse
import os

import fireseed
from fireseed import nn, optim
from fireseed.utils.data import DataLoader, TensorDataset

ALL = 10**6  # a batch of all samples
METHODS = [  # name, batch size, optimizer, options on the surface, options for the network
    ("gradient descent", ALL, optim.SGD, {"lr": 0.45}, {"lr": 0.5}),
    ("SGD (1 sample)", 1, optim.SGD, {"lr": 0.05}, {"lr": 0.01}),
    ("mini-batch SGD (32)", 32, optim.SGD, {"lr": 0.3}, {"lr": 0.1}),
    ("momentum", 32, optim.SGD, {"lr": 0.05, "momentum": 0.9}, {"lr": 0.05, "momentum": 0.9}),
    ("Nesterov", 32, optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True},
     {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("AdaGrad", 32, optim.Adagrad, {"lr": 1.0}, {"lr": 0.03}),
    ("RMSprop", 32, optim.RMSprop, {"lr": 0.1}, {"lr": 0.003}),
    ("Adadelta", 32, optim.Adadelta, {"lr": 1.0, "eps": 1e-2}, {"lr": 1.0}),
    ("Adam", 32, optim.Adam, {"lr": 0.2}, {"lr": 0.005}),
    ("AdamW", 32, optim.AdamW, {"lr": 0.2, "weight_decay": 0.1}, {"lr": 0.005, "weight_decay": 0.1}),
    ("NAdam", 32, optim.NAdam, {"lr": 0.2}, {"lr": 0.005}),
    ("FTRL", 32, optim.Ftrl, {"lr": 1.0}, {"lr": 0.1}),
]


def descend(model, criterion, data, optimizer, batch_size, epochs):
    """Trains; yields after each update."""
    loader = DataLoader(TensorDataset(*data), batch_size=min(batch_size, len(data[0])), shuffle=True)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
            yield


def surface_data():
    """Two standardised, correlated inputs (442, 2) and the progress of a disease (442, 1)."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    x, y = fireseed.tensor(x[:, 4:6], dtype=fireseed.float32), fireseed.tensor(y, dtype=fireseed.float32)[:, None]
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


def digits_data():
    """Images (1797, 64) and classes (1797)."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return fireseed.tensor(x, dtype=fireseed.float32) / 16, fireseed.tensor(y)


def surface_path(data, batch_size, make, options, updates):
    """The two weights after each update: a list of pairs."""
    fireseed.manual_seed(0)
    model = nn.Linear(2, 1, bias=False)
    with fireseed.no_grad():
        model.weight.copy_(fireseed.tensor([[-2.4, -0.8]]))
    path = [model.weight[0].tolist()]
    steps = descend(model, nn.MSELoss(), data, make(model.parameters(), **options), batch_size, updates)
    for _, _ in zip(range(updates), steps, strict=False):
        path.append(model.weight[0].tolist())
    return path


def network_losses(data, batch_size, make, options, epochs):
    """The loss over all digits before training and after each epoch, and the accuracy at the end."""
    fireseed.manual_seed(0)
    x, y = data
    model, criterion = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), nn.CrossEntropyLoss()
    optimizer, losses = make(model.parameters(), **options), [criterion(model(x), y).item()]
    for _ in range(epochs):
        for _ in descend(model, criterion, data, optimizer, batch_size, 1):
            pass
        losses.append(criterion(model(x), y).item())
    return losses, (model(x).argmax(1) == y).float().mean().item()


def plot(data, paths, losses, file):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 14), layout="constrained")
    grid = figure.add_gridspec(4, 4, height_ratios=[1, 1, 1, 1.3])
    x, y = data
    a, b = fireseed.meshgrid(fireseed.linspace(-3, 2, 80), fireseed.linspace(-2, 3, 80), indexing="xy")
    weights = fireseed.stack([a.flatten(), b.flatten()])  # (2, 6400): the loss of them all in one product
    surface = ((x @ weights - y) ** 2).mean(0).reshape(80, 80)
    for i, (name, path) in enumerate(paths.items()):
        axes = figure.add_subplot(grid[i // 4, i % 4])
        axes.contourf(a.numpy(), b.numpy(), surface.log().numpy(), 24, cmap="Blues_r")
        axes.plot(*zip(*path, strict=True), color="tab:red", marker=".", markersize=4, linewidth=1)
        axes.plot(*path[0], "k^", markersize=7)
        axes.plot(*fireseed.linalg.lstsq(x, y).solution.flatten().tolist(), "w*", markersize=12, markeredgecolor="k")
        axes.set(title=name, xlim=(-3, 2), ylim=(-2, 3), xticks=[], yticks=[])
    for columns, names, title in [(slice(0, 2), list(losses)[:5], "one rate for all weights"),
                                  (slice(2, 4), list(losses)[5:], "a rate for each weight")]:
        axes = figure.add_subplot(grid[3, columns], sharey=figure.axes[-1] if names[0] == "AdaGrad" else None)
        for name in names:
            axes.plot(losses[name], label=name, linewidth=1.4)
        axes.set(title=f"a network 64-32-10 on digits: {title}", xlabel="epoch", ylabel="training loss", yscale="log",
                 ylim=(0.006, 3))
        axes.label_outer()
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", ncols=2)
    figure.savefig(file, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--updates", type=int, default=100, help="steps on the surface")
    parser.add_argument("--epochs", type=int, default=20, help="of the network")
    parser.add_argument("--quick", action="store_true", help="5 epochs")
    parser.add_argument("--out", default=".", help="folder of optimizers.png")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    surface, digits = surface_data(), digits_data()
    paths, losses = {}, {}
    print(f"{'':20s} distance to the lowest point   loss of the network   its accuracy")
    best = fireseed.linalg.lstsq(*surface).solution.flatten()
    for name, batch_size, make, on_surface, for_network in METHODS:
        paths[name] = surface_path(surface, batch_size, make, on_surface, args.updates)
        losses[name], accuracy = network_losses(digits, batch_size, make, for_network, 5 if args.quick else args.epochs)
        distance = (fireseed.tensor(paths[name][-1]) - best).norm().item()
        print(f"{name:20s} {distance:28.3f}   {losses[name][-1]:19.4f}   {accuracy:12.3f}")
    file = os.path.join(args.out, "optimizers.png")
    plot(surface, paths, losses, file)
    print(f"wrote {file}")


if __name__ == "__main__":
    main()
