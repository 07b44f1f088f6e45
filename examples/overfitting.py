"""A network too small, right and too large for its data, and what keeps the large one from overfitting.

    python examples/overfitting.py [--epochs 100] [--quick] [--out .]

300 handwritten digits to learn from, 15 % of them with a wrong label; the other 1,497 tell how well that went. What to
see in overfitting.png: both losses of the small network stay high (underfitting); the large one learns the wrong labels
by heart: its training loss falls to nothing while the validation loss turns and rises (overfitting). Weight decay, L1,
L2 and dropout hold the large network back, early stopping takes it as it was at the turn; batch norm makes learning
faster, which alone does not help. History.diagnosis() reads all this from the curves. Needs scikit-learn, matplotlib.
"""
import argparse
import os

import fireseed
from fireseed import nn
from fireseed.train import EarlyStopping, Trainer
from fireseed.utils.data import DataLoader, TensorDataset


def load_data():
    """(training, validation): 300 digits, some labels wrong, and 1,497 digits."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = fireseed.randperm(len(x))
    x, y = fireseed.tensor(x, dtype=fireseed.float32)[order] / 16, fireseed.tensor(y)[order]
    wrong = fireseed.randperm(300)[:45]
    y[wrong] = (y[wrong] + fireseed.randint(1, 10, (45,))) % 10
    return TensorDataset(x[:300], y[:300]), TensorDataset(x[300:], y[300:])


def network(width, depth=1, dropout=None, norm=False):
    """Layers of `width` units with ReLU, batch norm before it and dropout after it as asked for."""
    layers, n = [], 64
    for _ in range(depth):
        layers += [nn.Linear(n, width)] + [nn.BatchNorm1d(width)] * norm + [nn.ReLU()]
        layers += [dropout] if dropout else []
        n = width
    return nn.Sequential(*layers, nn.Linear(n, 10))


CASES = [  # title, the network, options of AdamW, options of the Trainer, callbacks
    ("too small", lambda: network(3), {}, {}, []),
    ("right", lambda: network(16), {}, {}, []),
    ("too large", lambda: network(256, 2), {}, {}, []),
    ("large, weight decay", lambda: network(256, 2), {"weight_decay": 2.0}, {}, []),
    ("large, L1", lambda: network(256, 2), {}, {"l1": 1e-3}, []),
    ("large, L2", lambda: network(256, 2), {}, {"l2": 5e-3}, []),
    ("large, original dropout", lambda: network(256, 2, nn.OriginalDropout(0.65)), {}, {}, []),
    ("large, inverted dropout", lambda: network(256, 2, nn.Dropout(0.65)), {}, {}, []),
    ("large, batch norm", lambda: network(256, 2, norm=True), {}, {}, []),
    ("large, early stopping", lambda: network(256, 2), {}, {}, [EarlyStopping(patience=8)]),
]


def plot(histories, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 6.8), layout="constrained")
    panels = figure.subplots(2, 5, sharex=True, sharey=True).ravel()
    for axes, (title, history) in zip(panels, histories, strict=True):
        epochs = range(1, history.epochs + 1)
        axes.plot(epochs, history["loss"], color="tab:blue", label="training")
        axes.plot(epochs, history["val_loss"], color="tab:orange", label="validation")
        if history.best_epoch:
            axes.axvline(history.best_epoch, color="0.5", linestyle="--", linewidth=1)
        axes.set(title=f"{title}\n{history.diagnosis().split(':')[0].split(' (')[0]}", ylim=(0, 2.4))
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.supxlabel("epoch")
    figure.supylabel("cross-entropy")
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="60 epochs")
    parser.add_argument("--out", default=".", help="folder of overfitting.png")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    epochs = 60 if args.quick else args.epochs
    fireseed.manual_seed(0)
    training, validation = load_data()
    histories = []
    print(f"{'':24s} weights  training  validation  accuracy")
    for title, make, options, regularisation, callbacks in CASES:
        fireseed.manual_seed(1)
        model = make()
        optimizer = fireseed.optim.AdamW(model.parameters(), lr=4e-3, **{"weight_decay": 0.0, **options})
        scheduler = fireseed.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy"], scheduler=scheduler,
                          progress=False, **regularisation)
        history = trainer.fit(DataLoader(training, batch_size=50, shuffle=True), epochs,
                              validation=DataLoader(validation, batch_size=1497), callbacks=callbacks)
        scores = trainer.validate(DataLoader(validation, batch_size=1497))  # early stopping: of the best weights
        print(f"{title:24s} {sum(w.numel() for w in model.parameters()):7,d}  {history['loss'][-1]:8.3f}  "
              f"{scores['loss']:10.3f}  {scores['accuracy']:8.3f}  {history.diagnosis().split('.')[0]}.")
        histories.append((title, history))
    path = os.path.join(args.out, "overfitting.png")
    plot(histories, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
