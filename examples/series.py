"""Series (N, C, L): digits read row by row, as 8 channels in 8 time steps, by Conv1d, LSTM and GRU.

    python examples/series.py [--epochs 30] [--quick] [--out .]

A row of a handwritten digit's pixels is what comes in at one time, as samples of 8 sensors would. Conv1d slides over
the time; the recurrent networks remember what came, and give an answer after each row. What to see in series.png: all
learn it well, with few weights; and the recurrent ones know a digit long before its last row. Needs scikit-learn and
matplotlib.
"""
import argparse
import os
import time

import fireseed
from fireseed import nn
from fireseed.train import Trainer
from fireseed.utils.data import DataLoader, TensorDataset, random_split


def load_series():
    """Series (1797, 8 channels, 8 steps) and classes (1797)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = fireseed.tensor(digits.images, dtype=fireseed.float32) / 16  # (N, rows, columns)
    return TensorDataset(x.transpose(1, 2).contiguous(), fireseed.tensor(digits.target))


class Recurrent(nn.Module):
    """An LSTM or GRU over (N, C, L), and scores (N, 10, L) after each step."""

    def __init__(self, kind, hidden):
        super().__init__()
        self.memory = kind(8, hidden, batch_first=True)
        self.scores = nn.Linear(hidden, 10)

    def forward(self, x):
        states, _ = self.memory(x.transpose(1, 2))  # (N, L, C) -> (N, L, hidden)
        return self.scores(states).transpose(1, 2)


def convolutional():
    """Scores (N, 10, 1): what the filters found anywhere in time."""
    return nn.Sequential(nn.Conv1d(8, 32, 3, padding=1), nn.BatchNorm1d(32), nn.ReLU(),
                         nn.Conv1d(32, 64, 3, padding=1, stride=2), nn.BatchNorm1d(64), nn.ReLU(),
                         nn.Flatten(), nn.Linear(64 * 4, 10), nn.Unflatten(1, (10, 1)))


def loss(scores, classes):
    """Cross-entropy of scores (N, 10, L), where each step's answer counts."""
    return nn.functional.cross_entropy(scores, classes[:, None].expand(-1, scores.shape[2]), label_smoothing=0.05)


def accuracy(scores, classes):
    """Of the last step."""
    return (scores[:, :, -1].argmax(1) == classes).float().mean().item()


def plot(histories, by_row, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for i, (name, history) in enumerate(histories.items()):
        left.plot(range(1, history.epochs + 1), history["val_accuracy"], color=f"C{i}", label=name)
        if name in by_row:
            right.plot(range(1, 9), by_row[name], color=f"C{i}", marker="o", label=name)
    left.set(xlabel="epoch", ylabel="accuracy", title="validation, after the last row", ylim=(0, 1.02))
    right.set(xlabel="rows read", title="test, after each row")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="10 epochs")
    parser.add_argument("--out", default=".", help="folder of series.png")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    fireseed.manual_seed(0)
    training, validation, test = random_split(load_series(), [0.65, 0.15, 0.2])
    x_test, y_test = next(iter(DataLoader(test, batch_size=len(test))))
    models = {"Conv1d": convolutional(), "LSTM": Recurrent(nn.LSTM, 48), "GRU": Recurrent(nn.GRU, 48)}
    histories, by_row = {}, {}
    print("        weights   test accuracy   after 4 rows   seconds")
    for name, model in models.items():
        optimizer = fireseed.optim.AdamW(model.parameters(), lr=5e-3)
        trainer = Trainer(model, optimizer, loss, metrics=[accuracy], clip_norm=1.0, progress=False)
        start = time.perf_counter()
        histories[name] = trainer.fit(DataLoader(training, batch_size=32, shuffle=True),
                                      10 if args.quick else args.epochs, DataLoader(validation, batch_size=512))
        seconds = time.perf_counter() - start
        right = (trainer.predict(x_test).argmax(1) == y_test[:, None]).float().mean(0).tolist()
        if len(right) > 1:
            by_row[name] = right
        print(f"{name:6s}  {sum(w.numel() for w in model.parameters()):7,d}   {right[-1]:13.3f}   "
              f"{f'{right[3]:12.3f}' if len(right) > 1 else ' ' * 12}   {seconds:7.1f}")
    path = os.path.join(args.out, "series.png")
    plot(histories, by_row, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
