"""A character-level language model: a two-layer LSTM learns to write like Python's language reference.

    python examples/families/char_lstm.py [--torch] [--quick] [--steps 800] [--seed 0]

The text is read in 32 parallel streams of 64 characters a step; the state is carried on, its gradient is not (truncated
backpropagation through time). The figure is the perplexity of text it has not seen: among how many characters it
hesitates. Data: the first 200 000 characters of the `help()` topics that come with Python.
"""
import math

from common import F, arguments, encode, nn, progress, reference_text, report, torch

STREAMS, LENGTH = 32, 64


class CharLSTM(nn.Module):
    def __init__(self, characters, width=128):
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.head = nn.Linear(width, characters)

    def forward(self, x, state=None):  # (N, L)
        outputs, state = self.lstm(self.embedding(x), state)
        return self.head(outputs), state  # (N, L, characters)


def write(model, characters, start, length, temperature=0.7):
    """Goes on from `start`, one character after the other."""
    x = torch.tensor([[characters.index(c) for c in start]])
    text, state = start, None
    with torch.no_grad():
        for _ in range(length):
            logits, state = model(x, state)
            x = torch.multinomial(F.softmax(logits[:, -1] / temperature, dim=-1), 1)  # (1, 1)
            text += characters[x.item()]
    return text


def main():
    args = arguments(__doc__, steps=800, quick=60)
    characters, ids = encode(reference_text())
    held_out = ids[-20_001:]
    streams = ids[:-20_001]
    streams = streams[: len(streams) // STREAMS * STREAMS].view(STREAMS, -1)  # (32, 5624)
    model = CharLSTM(len(characters))
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)

    losses, state, at = [], None, 0
    for _ in range(args.steps):
        if at + LENGTH + 1 > streams.shape[1]:
            state, at = None, 0
        x, y = streams[:, at : at + LENGTH], streams[:, at + 1 : at + LENGTH + 1]
        logits, state = model(x, state)
        state = tuple(s.detach() for s in state)
        at += LENGTH
        optimizer.zero_grad()
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        progress(args, losses)

    model.eval()
    with torch.no_grad():
        x, y = held_out[:-1].view(20, 1000), held_out[1:].view(20, 1000)
        loss = F.cross_entropy(model(x)[0].flatten(0, 1), y.flatten()).item()
    if not args.losses:
        print("It writes:", write(model, characters, "The for statement ", 300))
    report(args, losses, "perplexity of unseen text", math.exp(loss), full=6.0, quick=16.0, below=True)


if __name__ == "__main__":
    main()
