"""What the scripts of this folder share: the choice of the library, the command line, data sets, and the final figure.

`from common import torch` is fireseed, or PyTorch where the command line says --torch. All else in a script is
PyTorch's API, so it runs under both names, and with the same seed both give the same losses, up to rounding.
"""
import argparse
import json
import os
import sys

if "--torch" in sys.argv:
    import torch
else:
    import fireseed as torch

nn, F = torch.nn, torch.nn.functional


def arguments(doc, steps, quick):
    """Reads the command line of a script that trains for `steps` steps (`quick` with --quick), and sets the seed."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--torch", action="store_true", help="use PyTorch instead of fireseed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--float64", action="store_true", help="compute in double precision")
    parser.add_argument("--steps", type=int, help=f"steps to train for (default: {steps})")
    parser.add_argument("--quick", action="store_true", help=f"{quick} steps")
    parser.add_argument("--losses", metavar="FILE", help="write the loss of every step to a JSON file")
    parser.add_argument("--out", default=".", help="folder for pictures")
    args = parser.parse_args()
    args.full = args.steps is None and not args.quick
    if args.steps is None:
        args.steps = quick if args.quick else steps
    if args.steps < 1:
        parser.error(f"--steps: expected at least 1, got {args.steps}")
    os.makedirs(args.out, exist_ok=True)
    if args.float64:
        torch.set_default_dtype(torch.float64)
    torch.manual_seed(args.seed)
    return args


def progress(args, losses, what="loss"):
    """Prints ten lines a run: the mean of `losses` since the last line."""
    every = max(1, args.steps // 10)
    if len(losses) % every == 0:
        print(f"step {len(losses):5d}: {what} {sum(losses[-every:]) / every:.4f}", flush=True)


def report(args, losses, what, value, full, quick, below=False):
    """Prints the final figure and what is expected of it: at least `full` (`quick` with --quick); `below`: at most.

    A script that misses what it promises ends with status 1. After --steps N nothing is expected.
    """
    if args.losses:
        with open(args.losses, "w") as file:
            json.dump(losses, file)
    expected = full if args.full else quick if args.quick else None
    if expected is None:
        print(f"{what}: {value:.4f}")
        return
    print(f"{what}: {value:.4f} (expected: at {'most' if below else 'least'} {expected:g})")
    if not (value <= expected if below else value >= expected):
        sys.exit(f"{what} is not what this script promises")


def batches(loader, steps):
    """`steps` batches of a DataLoader, which shuffles anew each time the data set has ended."""
    while steps > 0:
        for batch in loader:
            yield batch
            steps -= 1
            if steps == 0:
                return


def digits(size=8):
    """scikit-learn's 1797 handwritten digits, as (images (N, 1, size, size) in 0..1, classes (N,)) to train and to test."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.get_default_dtype()).unsqueeze(1) / 16  # (1797, 1, 8, 8)
    y = torch.tensor(data.target, dtype=torch.int64)
    if size != 8:
        x = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)
    order = torch.randperm(len(x))
    train, test = order[:1437], order[1437:]
    return (x[train], y[train]), (x[test], y[test])


def reference_text(length=200_000):
    """The beginning of the language reference that comes with Python (`help("for")`), in plain characters."""
    from pydoc_data.topics import topics

    text = "".join(topics[name] for name in sorted(topics))
    return "".join(c for c in text if c == "\n" or " " <= c <= "~")[:length]


def encode(text):
    """The characters that occur in `text`, sorted, and the text as an int64 tensor of indices to them."""
    characters = sorted(set(text))
    index = {c: i for i, c in enumerate(characters)}
    return characters, torch.tensor([index[c] for c in text], dtype=torch.int64)


def accuracy(model, x, y):
    """Share of the samples whose class gets the greatest score."""
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def save_images(rows, path):
    """Writes a picture of grey images (values 0..1): `rows` is a list of (title, images (N, 1, H, W))."""
    from matplotlib.figure import Figure

    columns = max(len(images) for _, images in rows)
    figure = Figure(figsize=(columns * 0.7 + 1.6, len(rows) * 0.75), layout="constrained")
    for axes, i in zip(figure.subplots(len(rows), columns, squeeze=False).flat, range(len(rows) * columns)):
        title, images = rows[i // columns]
        if i % columns < len(images):
            axes.imshow(images[i % columns, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[], frame_on=False)
        if i % columns == 0:
            axes.set_ylabel(title, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")
