"""The digits network with a training loop written by hand: the same script runs on fireseed and on PyTorch.

    python examples/digits_plain.py [--torch] [--seed 0] [--epochs 20] [--steps N] [--losses FILE]

--torch: use PyTorch. --steps: stop after N steps. --losses: write the loss of every step to a JSON file. With the same
seed both give the same losses, up to rounding.
"""
import argparse
import json
import sys

if "--torch" in sys.argv:
    import torch
else:
    import fireseed as torch

nn = torch.nn
F = torch.nn.functional
DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset


class Net(nn.Module):
    """Conv, batch norm, ReLU, pooling, twice; dropout; two linear layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = self.dropout(torch.flatten(x, 1))
        return self.fc2(F.relu(self.fc1(x)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch", action="store_true", help="use PyTorch instead of fireseed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=0, help="stop after this many steps")
    parser.add_argument("--losses", help="JSON file for the loss of every step")
    args = parser.parse_args()

    from sklearn.datasets import load_digits
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target, dtype=torch.int64)

    torch.manual_seed(args.seed)
    order = torch.randperm(len(x))
    train, test = order[:1437], order[1437:]
    loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=32, shuffle=True)
    model = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)

    losses = []
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for images, classes in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), classes)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            total += loss.item() * len(images)
            if len(losses) == args.steps:
                break
        model.eval()
        with torch.no_grad():
            accuracy = (model(x[test]).argmax(1) == y[test]).float().mean().item()
        print(f"epoch {epoch + 1}: training loss {total / len(train):.4f}, test accuracy {100 * accuracy:.2f} %")
        if len(losses) == args.steps:
            break
    if args.losses:
        with open(args.losses, "w") as file:
            json.dump(losses, file)


if __name__ == "__main__":
    main()
