"""A mini-GPT (Radford et al. 2018, 2019): a transformer decoder learns to write like Python's language reference.

    python examples/families/minigpt.py [--torch] [--quick] [--steps 800] [--seed 0]

Four blocks of causal self-attention and an MLP, norms first, the output layer shares its weights with the embedding;
AdamW with warm-up and cosine decay. The figure is the perplexity of text it has not seen. Data: the first 200 000
characters of the `help()` topics that come with Python.
"""
import math

from common import F, arguments, encode, nn, progress, reference_text, report, torch

WIDTH, HEADS, BLOCKS, CONTEXT = 96, 4, 4, 64


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):  # (N, L, C)
        n, length, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (N, heads, L, C / heads)
        x = x + self.out(y.transpose(1, 2).reshape(n, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, characters):
        super().__init__()
        self.token = nn.Embedding(characters, WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, characters, bias=False)
        self.apply(self.start)
        self.head.weight = self.token.weight  # tied

    def start(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.05)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, x):  # (N, L)
        x = self.token(x) + self.position(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x)))  # (N, L, characters)


def write(model, characters, start, length, temperature=0.7):
    """Goes on from `start`, one character after the other."""
    x = torch.tensor([[characters.index(c) for c in start]])  # (1, L)
    with torch.no_grad():
        for _ in range(length):
            logits = model(x[:, -CONTEXT:])[:, -1]  # (1, characters)
            following = torch.multinomial(F.softmax(logits / temperature, dim=-1), 1)
            x = torch.cat([x, following], dim=1)
    return "".join(characters[i] for i in x[0].tolist())


def main():
    args = arguments(__doc__, steps=800, quick=60)
    characters, ids = encode(reference_text())
    held_out = ids[-12_801:]
    ids = ids[:-12_801]
    model = GPT(len(characters))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    warm_up = min(50, args.steps // 5 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm_up, 0.55 + 0.45 * math.cos(math.pi * s / args.steps))
    )

    losses = []
    for _ in range(args.steps):
        at = torch.randint(len(ids) - CONTEXT, (16, 1)) + torch.arange(CONTEXT)  # (16, L)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids[at]).flatten(0, 1), ids[at + 1].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        progress(args, losses)

    model.eval()
    with torch.no_grad():
        x, y = held_out[:-1].view(200, CONTEXT), held_out[1:].view(200, CONTEXT)
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
    if not args.losses:
        print("It writes:", write(model, characters, "The for statement ", 300))
    report(args, losses, "perplexity of unseen text", math.exp(loss), full=7.0, quick=19.0, below=True)


if __name__ == "__main__":
    main()
