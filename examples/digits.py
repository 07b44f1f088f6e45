"""Trains a small convolutional network on scikit-learn's 1,797 handwritten digits (8x8 grey pixels, 10 classes).

    python examples/digits.py [--seed 0] [--epochs 60] [--output .]

Writes curves.png (loss and accuracy, training and validation) and model.safetensors, loads the latter into a new
network and predicts with it. Without --seed three seeds are run and the mean of their test accuracies is printed.
Needs scikit-learn, matplotlib and tqdm.
"""
import argparse
import os

import fireseed
from fireseed import nn
from fireseed.train import EarlyStopping, Trainer
from fireseed.utils.data import DataLoader, TensorDataset, random_split


def load_digits():
    """Images (1797, 1, 8, 8) in [0, 1] and classes (1797)."""
    from sklearn.datasets import load_digits as load

    digits = load()
    x = fireseed.tensor(digits.images, dtype=fireseed.float32).unsqueeze(1) / 16
    return x, fireseed.tensor(digits.target, dtype=fireseed.int64)


def make_model():
    """Two blocks of convolution, batch norm and ReLU, each pooled; then two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(64 * 2 * 2, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.4),
        nn.Linear(128, 10),
    )


def shifted(x):
    """Each image of (N, 1, 8, 8) moved by -1, 0 or 1 pixels down and right: new data from old."""
    n = x.shape[0]
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    rows = fireseed.arange(8) + fireseed.randint(0, 3, (n, 1))
    columns = fireseed.arange(8) + fireseed.randint(0, 3, (n, 1))
    return padded[fireseed.arange(n)[:, None, None], 0, rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def collate(samples):
    """A batch with shifted images."""
    x, y = zip(*samples, strict=False)
    return shifted(fireseed.stack(x)), fireseed.stack(y)


def run(seed, epochs, progress=True):
    """Trains with one seed; returns the trainer, the test accuracy and the test data."""
    fireseed.manual_seed(seed)
    x, y = load_digits()
    training, validation, test = random_split(TensorDataset(x, y), [0.65, 0.15, 0.2])
    model = make_model()
    optimizer = fireseed.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    scheduler = fireseed.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(label_smoothing=0.05), metrics=["accuracy"],
                      scheduler=scheduler, progress=progress)
    trainer.fit(DataLoader(training, batch_size=32, shuffle=True, collate_fn=collate), epochs,
                validation=DataLoader(validation, batch_size=256), callbacks=[EarlyStopping(patience=15)])
    scores = trainer.validate(DataLoader(test, batch_size=256))
    return trainer, scores["accuracy"], test


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, help="run this seed only (otherwise 0, 1 and 2)")
    parser.add_argument("--epochs", type=int, default=60, help="the most epochs of a run")
    parser.add_argument("--output", default=".", help="folder of curves.png and model.safetensors")
    args = parser.parse_args()
    os.makedirs(args.output, exist_ok=True)

    accuracies = []
    for seed in range(3) if args.seed is None else [args.seed]:
        trainer, accuracy, test = run(seed, args.epochs)
        print(f"seed {seed}: test accuracy {100 * accuracy:.2f} %; {trainer.history.stopped}. "
              f"{trainer.history.diagnosis()}")
        accuracies.append(accuracy)
        if trainer.history.stopped == "interrupted":
            break
    print(f"mean test accuracy over {len(accuracies)} seed(s): {100 * sum(accuracies) / len(accuracies):.2f} %")

    curves, weights = os.path.join(args.output, "curves.png"), os.path.join(args.output, "model.safetensors")
    trainer.history.plot(curves, title="Handwritten digits", diagnosis=True)
    fireseed.save(trainer.model.state_dict(), weights, metadata={"test accuracy": accuracies[-1]})

    model = make_model()
    model.load_state_dict(fireseed.load(weights))
    images, classes = next(iter(DataLoader(test, batch_size=10)))
    predicted = Trainer(model).predict(images).argmax(1)
    print(f"wrote {curves} and {weights}; loaded it again:")
    print(f"  predicted {predicted.tolist()}\n  really    {classes.tolist()}")


if __name__ == "__main__":
    main()
