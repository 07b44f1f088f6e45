"""Vision transformer (Dosovitskiy et al. 2021): a digit as a sequence of 16 patches and a class token.

    python examples/families/vit.py [--torch] [--quick] [--steps 1000] [--seed 0] [--out .]

vit.png: where the class token looks, by head, in the last block. Data: scikit-learn's 1797 digits of 8 x 8.
"""
import os

from common import accuracy, arguments, batches, digits, nn, progress, report, torch

WIDTH, HEADS, BLOCKS, PATCH = 64, 4, 3, 2


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * WIDTH, WIDTH), nn.Dropout(0.1)
        )

    def forward(self, x):  # (N, 17, C)
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, classes=10, size=8):
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.position = nn.Parameter(0.02 * torch.randn(1, 1 + (size // PATCH) ** 2, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, classes)

    def embed(self, x):  # (N, 1, 8, 8)
        x = self.patches(x).flatten(2).transpose(1, 2)  # (N, 16, C)
        return torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1) + self.position

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.embed(x)))[:, 0])  # the class token's place

    def attention(self, x):
        """Weights (N, heads, 4, 4) with which the class token looks at the patches in the last block."""
        x = self.blocks[:-1](self.embed(x))
        y = self.blocks[-1].norm1(x)
        _, weights = self.blocks[-1].attention(y, y, y, average_attn_weights=False)  # (N, heads, 17, 17)
        return weights[:, :, 0, 1:].unflatten(2, (4, 4))


def plot(model, x, path):
    from matplotlib.figure import Figure

    model.eval()
    with torch.no_grad():
        weights = model.attention(x).numpy()
    figure = Figure(figsize=(len(x) * 1.1 + 1, 1.1 * (1 + HEADS)), layout="constrained")
    axes = figure.subplots(1 + HEADS, len(x))
    for i in range(len(x)):
        axes[0, i].imshow(x[i, 0].numpy(), cmap="gray_r")
        for head in range(HEADS):
            axes[1 + head, i].imshow(weights[i, head], cmap="magma", vmin=0)
            axes[1 + head, 0].set_ylabel(f"head {head + 1}")
    for a in axes.flat:
        a.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")


def main():
    args = arguments(__doc__, steps=1000, quick=150)
    (x, y), (x_test, y_test) = digits()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    model = ViT()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=args.steps)

    losses = []
    for images, classes in batches(loader, args.steps):
        optimizer.zero_grad()
        loss = criterion(model(images), classes)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        progress(args, losses)
    plot(model, x_test[:8], os.path.join(args.out, "vit.png"))
    report(args, losses, "test accuracy", accuracy(model, x_test, y_test), full=0.96, quick=0.55)


if __name__ == "__main__":
    main()
