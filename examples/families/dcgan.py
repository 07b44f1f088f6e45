"""DCGAN (Radford, Metz, Chintala 2016): one network draws digits, another tries to tell them from real ones.

    python examples/families/dcgan.py [--torch] [--quick] [--steps 1500] [--seed 0] [--out .]

The figure is the Inception score (Salimans et al. 2016) with a small digit classifier in place of Inception: 1 if all
drawings look the same or like nothing, 10 if each is clearly one digit and all ten occur. dcgan.png: real and drawn
digits. Data: scikit-learn's 1797 digits, enlarged to 16 x 16.
"""
import os

from common import F, arguments, digits, nn, report, save_images, torch

NOISE = 32


def generator():
    """Noise (N, 32, 1, 1) to images (N, 1, 16, 16) in -1..1."""
    return nn.Sequential(
        nn.ConvTranspose2d(NOISE, 64, 4, bias=False), nn.BatchNorm2d(64), nn.ReLU(),  # (N, 64, 4, 4)
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),  # (N, 32, 8, 8)
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Tanh(),
    )  # fmt: skip


def critic(outputs):
    """Images (N, 1, 16, 16) to scores (N, outputs): the discriminator, and the classifier that judges in the end."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (N, 32, 8, 8)
        nn.Conv2d(32, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),  # (N, 64, 4, 4)
        nn.Conv2d(64, outputs, 4), nn.Flatten(),
    )  # fmt: skip


def start(module):
    """The paper's initial weights."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def train_judge(x, y):
    """A classifier of the real digits x, y."""
    model = critic(10)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(150):
        index = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
    return model.eval()


def score(judge, images):
    """exp E KL(p(digit | image) || p(digit)), 1 to 10."""
    with torch.no_grad():
        p = F.softmax(judge(images), dim=1)  # (N, 10)
        return (p * (p.clamp(min=1e-12).log() - p.mean(0).log())).sum(1).mean().exp().item()


def main():
    args = arguments(__doc__, steps=1500, quick=150)
    (x, y), _ = digits(size=16)
    x = 2 * x - 1  # as tanh
    G, D = generator().apply(start), critic(1).apply(start)
    optimizer_g = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(D.parameters(), lr=5e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    real, fake = torch.ones(64, 1), torch.zeros(64, 1)

    losses = []
    for step in range(1, args.steps + 1):
        images, drawn = x[torch.randint(len(x), (64,))], G(torch.randn(64, NOISE, 1, 1))
        optimizer_d.zero_grad()
        loss_d = criterion(D(images), real) + criterion(D(drawn.detach()), fake)
        loss_d.backward()
        optimizer_d.step()

        optimizer_g.zero_grad()
        loss_g = criterion(D(drawn), real)  # drawn well if D takes it for real
        loss_g.backward()
        optimizer_g.step()
        losses.append(loss_d.item() + loss_g.item())
        if step % max(1, args.steps // 10) == 0:
            print(f"step {step:5d}: discriminator {loss_d.item():.4f}, generator {loss_g.item():.4f}", flush=True)

    G.eval()
    with torch.no_grad():
        drawn = G(torch.randn(1000, NOISE, 1, 1))
    rows = [("real", x[:12])] + [("drawn", drawn[i : i + 12]) for i in range(0, 60, 12)]
    save_images([(title, (images + 1) / 2) for title, images in rows], os.path.join(args.out, "dcgan.png"))
    judge = train_judge(x, y)
    print(f"score of the real digits: {score(judge, x):.2f}, of noise: {score(judge, torch.randn_like(x)):.2f}")
    report(args, losses, "score of the drawn digits", score(judge, drawn), full=5.0, quick=4.0)


if __name__ == "__main__":
    main()
