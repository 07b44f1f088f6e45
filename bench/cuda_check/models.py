"""Training steps that are timed end to end: a small MLP, a small CNN, GPT-2 of 124 million parameters."""
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Model:
    name: str
    make: Callable       # (t, device, small, capturable) -> (step, items a step); step() returns the loss
    unit: str
    batch: str


def autocast(t, device):
    return t.autocast(device_type=device, dtype=t.bfloat16, cache_enabled=False)


def stepper(t, model, optimizer, loss_of):
    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        return loss.detach()
    return step


def extra(t, capturable):
    """What PyTorch's Adam wants inside a graph."""
    return {"capturable": True} if capturable and t.__name__ == "torch" else {}


def mlp(t, device, small=False, capturable=False):
    t.manual_seed(0)
    n, nn = 8 if small else 128, t.nn
    model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    x, y = t.randn(n, 784).to(device), t.randint(0, 10, (n,)).to(device)
    optimizer = t.optim.Adam(model.parameters(), **extra(t, capturable))
    return stepper(t, model, optimizer, lambda m: nn.functional.cross_entropy(m(x), y)), n


def cnn(t, device, small=False, capturable=False):
    t.manual_seed(0)
    n, nn = 4 if small else 128, t.nn
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(32 * 49, 10)).to(device)
    x, y = t.randn(n, 1, 28, 28).to(device), t.randint(0, 10, (n,)).to(device)
    optimizer = t.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return stepper(t, model, optimizer, lambda m: nn.functional.cross_entropy(m(x), y)), n


def gpt(t, device, small=False, capturable=False):
    """GPT-2's architecture (Radford et al. 2019) with its vocabulary padded to a multiple of 64; bf16 autocast, AdamW."""
    t.manual_seed(0)
    nn, f = t.nn, t.nn.functional
    layers, width, heads, length, batch, words = (1, 32, 2, 16, 2, 64) if small else (12, 768, 12, 1024, 16, 50304)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, n, _ = x.shape
            q, k, v = (y.view(b, n, heads, width // heads).transpose(1, 2) for y in self.qkv(self.norm1(x)).chunk(3, -1))
            y = f.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, n, width))
            return x + self.down(f.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
            self.blocks, self.norm = nn.ModuleList([Block() for _ in range(layers)]), nn.LayerNorm(width)
            self.head = nn.Linear(width, words, bias=False)
            self.head.weight = self.words.weight

        def forward(self, i):
            x = self.words(i) + self.places(t.arange(i.shape[1], device=i.device))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    model = Gpt().to(device)
    fused = {"fused": True} if t.__name__ == "torch" and device == "cuda" else {}
    optimizer = t.optim.AdamW(model.parameters(), lr=3e-4, **fused, **extra(t, capturable))
    x, y = (t.randint(0, words, (batch, length)).to(device) for _ in range(2))

    def loss_of(m):
        with autocast(t, device):
            logits = m(x)
        return f.cross_entropy(logits.view(-1, words), y.view(-1))
    return stepper(t, model, optimizer, loss_of), batch * length


MODELS = [Model("MLP 784-128-10", mlp, "images", "128"), Model("CNN 28x28", cnn, "images", "128"),
          Model("GPT-2 124M bf16", gpt, "tokens", "16x1024")]
