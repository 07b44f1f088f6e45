"""MLP: three linear layers tell three vineyards apart by 13 measurements of the wine (178 samples, scikit-learn).

    python examples/families/mlp.py [--torch] [--quick] [--steps 400] [--seed 0]
"""
from common import accuracy, arguments, batches, nn, progress, report, torch


def main():
    args = arguments(__doc__, steps=400, quick=100)
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True)
    order = torch.randperm(len(x))
    x, y = torch.tensor(x, dtype=torch.get_default_dtype())[order], torch.tensor(y, dtype=torch.int64)[order]
    x = (x - x[:120].mean(0)) / x[:120].std(0)  # standardised by what the network may see
    train = torch.utils.data.TensorDataset(x[:120], y[:120])
    loader = torch.utils.data.DataLoader(train, batch_size=16, shuffle=True)

    model = nn.Sequential(
        nn.Linear(13, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3)
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-3)

    losses = []
    for features, classes in batches(loader, args.steps):
        optimizer.zero_grad()
        loss = criterion(model(features), classes)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        progress(args, losses)
    report(args, losses, "test accuracy", accuracy(model, x[120:], y[120:]), full=0.94, quick=0.9)


if __name__ == "__main__":
    main()
