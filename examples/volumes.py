"""Volumes (N, C, D, H, W): digits as blocks of 8 x 8 x 8 voxels, lying any way round, read by Conv3d.

    python examples/volumes.py [--epochs 15] [--quick] [--out .]

The ink of a handwritten digit becomes height: a voxel (z, y, x) is full where there is more ink than its height, as
in a scan of an embossed digit. Then each block is laid on one of its three sides. What to see in volumes.png: blocks
with what the network takes them for, mistakes in red. A convolution in three dimensions, whose filters are shared over
all places, does better than a network of as many weights that sees 512 unrelated numbers. Needs scikit-learn and
matplotlib.
"""
import argparse
import os

import fireseed
from fireseed import nn
from fireseed.train import Trainer
from fireseed.utils.data import DataLoader, TensorDataset, random_split


def load_volumes():
    """Volumes (1797, 1, 8, 8, 8) of 0 and 1 and classes (1797)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    ink = fireseed.tensor(digits.images, dtype=fireseed.float32) / 16
    volumes = (ink[:, None] > fireseed.arange(8)[:, None, None] / 8).float()  # (N, D, H, W)
    side = fireseed.randint(0, 3, (len(volumes), 1, 1, 1))
    volumes = volumes.where(side != 1, volumes.permute(0, 2, 1, 3)).where(side != 2, volumes.permute(0, 3, 1, 2))
    return TensorDataset(volumes[:, None], fireseed.tensor(digits.target))


def make_models():
    """A convolutional and a plain network with about as many weights."""
    convolutional = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(16, 32, 3, padding=1), nn.BatchNorm3d(32), nn.ReLU(), nn.MaxPool3d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 2 * 2 * 2, 64), nn.ReLU(), nn.Linear(64, 10))
    plain = nn.Sequential(nn.Flatten(), nn.Linear(512, 60), nn.ReLU(), nn.Dropout(0.3), nn.Linear(60, 10))
    return {"Conv3d": convolutional, "Linear": plain}


def plot(volumes, classes, predicted, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.6))
    figure.subplots_adjust(left=0, right=1, bottom=0.01, top=0.92, wspace=0, hspace=0.15)
    wrong = [i for i in range(len(classes)) if predicted[i] != classes[i]]
    for panel, i in enumerate(list(range(8 - len(wrong[:4]))) + wrong[:4]):
        axes = figure.add_subplot(2, 4, panel + 1, projection="3d")
        voxels = volumes[i, 0].permute(2, 1, 0).flip(1).numpy()  # (z, y down, x) -> (x, y up, z)
        axes.voxels(voxels > 0, facecolors="tab:orange", edgecolor="0.3", linewidth=0.2)
        axes.set_title(f"a {classes[i]}, taken for a {predicted[i]}", color="tab:red" if i in wrong else "k", y=1.03)
        axes.set(xticks=[], yticks=[], zticks=[])
        axes.view_init(elev=50, azim=-75)
    figure.savefig(path, dpi=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="6 epochs")
    parser.add_argument("--out", default=".", help="folder of volumes.png")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    epochs = 6 if args.quick else args.epochs
    fireseed.manual_seed(0)
    training, validation, test = random_split(load_volumes(), [0.65, 0.15, 0.2])
    x_test, y_test = next(iter(DataLoader(test, batch_size=len(test))))
    print("        weights   validation accuracy   test accuracy")
    for name, model in make_models().items():
        optimizer = fireseed.optim.AdamW(model.parameters(), lr=3e-3)
        scheduler = fireseed.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy"], scheduler=scheduler,
                          progress=False)
        history = trainer.fit(DataLoader(training, batch_size=32, shuffle=True), epochs,
                              validation=DataLoader(validation, batch_size=512))
        predicted = trainer.predict(x_test).argmax(1)
        accuracy = (predicted == y_test).float().mean().item()
        print(f"{name:6s}  {sum(w.numel() for w in model.parameters()):7,d}   {history['val_accuracy'][-1]:19.3f}   "
              f"{accuracy:13.3f}")
        if name == "Conv3d":
            path = os.path.join(args.out, "volumes.png")
            plot(x_test, y_test.tolist(), predicted.tolist(), path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
