"""Gradient descent three ways: all samples, a mini-batch, or one sample for each update of the weights.

    python examples/gradient_descent.py [--epochs 30] [--quick] [--out .]

One problem (is a tumour benign? 569 samples of 30 measurements), one start, one learning rate: only the number of
samples behind each update differs. What to see in gradient_descent.png: by epochs, single-sample SGD is far ahead, for
it updates the weights 455 times an epoch and gradient descent once. By updates, all three go the same way, but where
gradient descent walks smoothly SGD shakes: one sample's gradient is a noisy guess of the gradient of all. Mini-batches
are calm, and the fastest by the clock. Needs scikit-learn and matplotlib.
"""
import argparse
import os
import time

import fireseed
from fireseed import nn
from fireseed.utils.data import DataLoader, TensorDataset


def load_data():
    """Standardised measurements (N, 30) and 0 or 1 (N, 1), shuffled, as (training, test) pairs."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    order = fireseed.randperm(len(x))
    x, y = fireseed.tensor(x, dtype=fireseed.float32)[order], fireseed.tensor(y, dtype=fireseed.float32)[order, None]
    x = (x - x[:455].mean(0)) / x[:455].std(0)
    return (x[:455], y[:455]), (x[455:], y[455:])


def descend(x, y, batch_size, epochs, lr):
    """Trains a logistic regression; returns it, the loss over all samples after each update, and the seconds taken."""
    fireseed.manual_seed(1)
    model, criterion = nn.Linear(30, 1), nn.BCEWithLogitsLoss()
    losses, seconds = [criterion(model(x), y).item()], 0.0
    for _ in range(epochs):
        loader = DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True)
        start = time.perf_counter()
        for xb, yb in loader:
            criterion(model(xb), yb).backward()
            with fireseed.no_grad():  # what optim.SGD(lr=lr) does:
                for w in model.parameters():
                    w -= lr * w.grad
                    w.grad = None
            seconds -= time.perf_counter()  # measuring is not training
            losses.append(criterion(model(x), y).item())
            seconds += time.perf_counter()
        seconds += time.perf_counter() - start
    return model, losses, seconds


def plot(runs, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    by_epoch, by_update = figure.subplots(1, 2, sharey=True)
    for name, losses, per_epoch, _, _ in runs:
        by_epoch.plot(losses[::per_epoch], label=name, marker=".", markersize=4)
        by_update.plot(range(1, len(losses)), losses[1:], label=name, linewidth=1)
    by_epoch.set(xlabel="epoch (each sample seen once)", ylabel="training loss", yscale="log")
    by_update.set(xlabel="updates of the weights", xscale="log")
    for axes in (by_epoch, by_update):
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--quick", action="store_true", help="8 epochs")
    parser.add_argument("--out", default=".", help="folder of gradient_descent.png")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    epochs = 8 if args.quick else args.epochs
    fireseed.manual_seed(0)
    (x, y), (x_test, y_test) = load_data()
    runs = []
    print("                         updates    loss after   loss after   test        seconds")
    print("                         an epoch   1 epoch      the last     accuracy")
    for name, size in [("gradient descent", len(x)), ("mini-batch SGD (32)", 32), ("single-sample SGD", 1)]:
        model, losses, seconds = descend(x, y, size, epochs, args.lr)
        per_epoch = (len(losses) - 1) // epochs
        accuracy = ((model(x_test) > 0) == (y_test > 0.5)).float().mean().item()
        runs.append((name, losses, per_epoch, accuracy, seconds))
        print(f"{name:24s} {per_epoch:8d}   {losses[per_epoch]:10.4f}   {losses[-1]:10.4f}   {accuracy:8.3f}   "
              f"{seconds:7.2f}")
    path = os.path.join(args.out, "gradient_descent.png")
    plot(runs, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
