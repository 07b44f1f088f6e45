"""Tables (N, C): what makes diabetes progress? 442 patients, numbers and categories, with and without L1 and L2.

    python examples/tabular.py [--epochs 200] [--quick] [--out .]

Eight measurements are standardised (with the training set's means); sex and decade of age are categories: each has an
embedding, a learned number. A third of the patients is kept for choosing (validation) and for the last word (test).
What to see in tabular.png: without a penalty the correlated blood values get large coefficients of opposite signs; L2
(ridge) shrinks and shares them, L1 (lasso) leaves only the few that matter. Needs scikit-learn and matplotlib.
"""
import argparse
import os

import fireseed
from fireseed import nn
from fireseed.train import EarlyStopping, Trainer
from fireseed.utils.data import DataLoader, TensorDataset, random_split

NAMES = ["body mass", "blood pressure", "cholesterol", "LDL", "HDL", "cholesterol / HDL", "triglycerides", "sugar"]


def load_table():
    """(training, validation, test) of numbers (N, 8), categories (N, 2) and standardised progress (N, 1)."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, y = fireseed.tensor(x, dtype=fireseed.float32), fireseed.tensor(y, dtype=fireseed.float32)[:, None]
    categories = fireseed.stack([x[:, 1].long() - 1, (x[:, 0] / 10).long()], 1)  # sex 0 or 1; decade of age 1 to 7
    training, validation, test = random_split(TensorDataset(x[:, 2:], categories, y), [0.66, 0.17, 0.17])
    x, y = x[training.indices, 2:], y[training.indices]

    def standardised(subset):
        numbers, categories, progress = subset.dataset[subset.indices]
        return TensorDataset((numbers - x.mean(0)) / x.std(0), categories, (progress - y.mean()) / y.std())

    return standardised(training), standardised(validation), standardised(test)


class Network(nn.Module):
    """A linear model of the numbers, plus a number for each category, plus, if hidden > 0, a layer for what is bent."""

    def __init__(self, hidden=0):
        super().__init__()
        self.numbers = nn.Linear(8, 1)
        self.sex, self.decade = nn.Embedding(2, 1), nn.Embedding(8, 1)
        self.bent = nn.Sequential(nn.Linear(8, hidden), nn.ReLU(), nn.Linear(hidden, 1)) if hidden else None
        nn.init.zeros_(self.sex.weight)
        nn.init.zeros_(self.decade.weight)

    def forward(self, numbers, categories):
        y = self.numbers(numbers) + self.sex(categories[:, 0]) + self.decade(categories[:, 1])
        return y if self.bent is None else y + self.bent(numbers)


def r2(output, target):
    """The share of the variance that is explained (of standardised targets)."""
    return 1 - ((output - target) ** 2).mean().item()


def plot(coefficients, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    for i, (title, values) in enumerate(coefficients.items()):
        axes.barh([row + 0.27 * (i - 1) for row in range(8)], values, height=0.25, label=title)
    axes.set_yticks(range(8), NAMES)
    axes.set(xlabel="coefficient (of standardised inputs)", title="What makes diabetes progress")
    axes.invert_yaxis()
    axes.axvline(0, color="k", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="60 epochs")
    parser.add_argument("--out", default=".", help="folder of tabular.png")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    epochs = 60 if args.quick else args.epochs
    fireseed.manual_seed(0)
    training, validation, test = load_table()
    coefficients = {}
    print("             R2 validation   R2 test   coefficients: " + ", ".join(NAMES))
    for title, hidden, penalty in [("no penalty", 0, {}), ("L2", 0, {"l2": 0.1}), ("L1", 0, {"l1": 0.1}),
                                   ("a layer", 32, {"l2": 0.01})]:
        fireseed.manual_seed(1)
        model = Network(hidden)
        optimizer = fireseed.optim.Adam(model.parameters(), lr=0.02)
        scheduler = fireseed.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        trainer = Trainer(model, optimizer, nn.MSELoss(), metrics=[r2], scheduler=scheduler, progress=False, **penalty)
        trainer.fit(DataLoader(training, batch_size=64, shuffle=True), epochs,
                    validation=DataLoader(validation, batch_size=100),
                    callbacks=[EarlyStopping(patience=20)] if hidden else [])
        scores = [trainer.validate(DataLoader(d, batch_size=100))["r2"] for d in (validation, test)]
        numbers = model.numbers.weight[0].tolist()
        print(f"{title:12s} {scores[0]:13.3f}   {scores[1]:7.3f}   "
              + ("" if hidden else " ".join(f"{v:6.2f}" for v in numbers)))
        if not hidden:
            coefficients[title] = numbers
    path = os.path.join(args.out, "tabular.png")
    plot(coefficients, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
