"""Whole networks trained for some steps: the losses are PyTorch's, step by step, for one seed."""

import pytest
from parity import against_peer


def language_model(lib):
    """A small GPT with tied weights, dropout, gradient clipping, AdamW and a cosine schedule."""
    nn, F = lib.nn, lib.nn.functional

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1)
            )
            self.register_buffer("mask", lib.ones(16, 16, dtype=lib.bool).triu(1), persistent=False)

        def forward(self, x):
            n, y = x.size(1), self.norm1(x)
            x = x + self.attention(y, y, y, attn_mask=self.mask[:n, :n], need_weights=False)[0]
            return x + self.mlp(self.norm2(x))

    class Model(nn.Module):
        def __init__(self, words=30, width=16):
            super().__init__()
            self.embed = nn.Embedding(words, width)
            self.place = nn.Parameter(lib.zeros(1, 16, width))
            self.blocks = nn.ModuleList([Block(width, 2) for _ in range(2)])
            self.head = nn.Linear(width, words, bias=False)
            self.head.weight = self.embed.weight
            for m in self.modules():
                if isinstance(m, (nn.Linear, nn.Embedding)):
                    nn.init.normal_(m.weight, std=0.02)

        def forward(self, tokens):
            x = self.embed(tokens) + self.place[:, : tokens.size(1)]
            for block in self.blocks:
                x = block(x)
            return self.head(x)

    net = Model()
    optimizer = lib.optim.AdamW(net.parameters(), lr=3e-3)
    scheduler = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    data = lib.randint(0, 30, (16, 9))
    data[:, 1:] = (data[:, :1] + lib.arange(1, 9)) % 30
    losses = []
    for _ in range(20):
        batch = data[lib.randperm(16)[:8]]
        loss = F.cross_entropy(net(batch[:, :-1]).reshape(-1, 30), batch[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def autoencoder(lib):
    """A variational autoencoder with transposed convolutions."""
    nn, F = lib.nn, lib.nn.functional
    encoder = nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 7 * 7, 8)
    )
    decoder = nn.Sequential(
        nn.Linear(4, 4 * 7 * 7), nn.Unflatten(1, (4, 7, 7)), nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Sigmoid()
    )
    optimizer = lib.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
    x = lib.rand(8, 1, 14, 14)
    losses = []
    for _ in range(20):
        mean, log_var = encoder(x).chunk(2, 1)
        z = mean + lib.randn_like(mean) * (0.5 * log_var).exp()
        loss = F.binary_cross_entropy(decoder(z), x) - 0.05 * (1 + log_var - mean**2 - log_var.exp()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def classifier(lib):
    """A bidirectional LSTM with dropout between its layers, RMSprop."""
    nn = lib.nn
    lstm = nn.LSTM(5, 8, 2, batch_first=True, dropout=0.2, bidirectional=True)
    head = nn.Linear(16, 3)
    optimizer = lib.optim.RMSprop([*lstm.parameters(), *head.parameters()], lr=3e-3)
    x, y = lib.randn(12, 7, 5), lib.randint(0, 3, (12,))
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(head(lstm(x)[0][:, -1]), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("train", [language_model, autoencoder, classifier], ids=lambda f: f.__name__)
def test_same_losses(train):
    def run(lib):
        lib.manual_seed(0)
        return train(lib)

    against_peer(run, 1e-4, 1e-4)
