"""LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998) reads digits: tanh, average pooling, 32 x 32 inputs as in the paper.

    python examples/families/lenet.py [--torch] [--quick] [--steps 450] [--seed 0]

Data: scikit-learn's 1797 digits, enlarged from 8 x 8.
"""
from common import accuracy, arguments, batches, digits, nn, progress, report, torch


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(  # (N, 1, 32, 32)
            nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2),  # (N, 6, 14, 14)
            nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),  # (N, 16, 5, 5)
            nn.Conv2d(16, 120, 5), nn.Tanh(),  # (N, 120, 1, 1)
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))

    def forward(self, x):
        return self.classifier(self.features(x))


def main():
    args = arguments(__doc__, steps=450, quick=135)
    (x, y), (x_test, y_test) = digits(size=32)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    model = LeNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    losses = []
    for images, classes in batches(loader, args.steps):
        optimizer.zero_grad()
        loss = criterion(model(images), classes)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        progress(args, losses)
    report(args, losses, "test accuracy", accuracy(model, x_test, y_test), full=0.97, quick=0.92)


if __name__ == "__main__":
    main()
