"""VAE (Kingma and Welling 2014): digits through 8 numbers and back; what was learned draws new digits.

    python examples/families/vae.py [--torch] [--quick] [--steps 3000] [--seed 0] [--out .]

vae.png: test images, what the network makes of them, new digits from noise, a walk from one digit to another.
Data: scikit-learn's 1797 digits of 8 x 8.
"""
import os

from common import F, arguments, digits, nn, progress, report, save_images, torch


class VAE(nn.Module):
    def __init__(self, latent=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, 256), nn.ReLU(), nn.Linear(256, 64), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, x):  # (N, 1, 8, 8)
        mean, log_variance = self.encoder(x).chunk(2, dim=1)  # (N, latent) each
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)  # a sample that gradients pass through
        return self.decoder(z), mean, log_variance  # logits (N, 1, 8, 8)


def elbo_loss(x, logits, mean, log_variance):
    """Minus the evidence lower bound, a sample: how unlikely the image is, and how far the code is from N(0, 1)."""
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
    return (reconstruction + divergence) / len(x)


def main():
    args = arguments(__doc__, steps=3000, quick=600)
    (x, _), (x_test, _) = digits()
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    losses = []
    for _ in range(args.steps):
        images = x[torch.randint(len(x), (64,))]
        optimizer.zero_grad()
        loss = elbo_loss(images, *model(images))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        progress(args, losses)

    model.eval()
    with torch.no_grad():
        codes = model.encoder(x_test)[:, :8]  # the means
        drawn = torch.sigmoid(model.decoder(codes))
        error, variance = F.mse_loss(drawn, x_test).item(), F.mse_loss(x.mean(0).expand_as(x_test), x_test).item()
        walk = torch.lerp(codes[:1], codes[1:2], torch.linspace(0, 1, 12).unsqueeze(1))  # (12, 8)
        rows = [
            ("test images", x_test[:12]),
            ("through the VAE", drawn[:12]),
            ("new", torch.sigmoid(model.decoder(torch.randn(12, 8)))),
            ("new", torch.sigmoid(model.decoder(torch.randn(12, 8)))),
            ("a walk", torch.sigmoid(model.decoder(walk))),
        ]
    save_images(rows, os.path.join(args.out, "vae.png"))
    report(args, losses, "share of the test pixels' variance explained", 1 - error / variance, full=0.65, quick=0.5)


if __name__ == "__main__":
    main()
