"""Sequence to sequence with attention (Bahdanau, Cho, Bengio 2015): dates as people write them to ISO 8601.

    python examples/families/seq2seq.py [--torch] [--quick] [--steps 500] [--seed 0] [--out .]

"Monday, 5 May 1930" becomes "1930-05-05". An encoder reads the characters, a decoder writes one character after the
other and looks back with attention; training gives it the right characters so far (teacher forcing). Data: every day of
1900-1999 in one of seven ways to write it. The figure is the share of unseen dates that it gets right in all ten
characters. seq2seq.png: where the decoder looks.
"""
import datetime
import os

from common import F, arguments, nn, progress, report, torch

WAYS = ["{d} {month} {y}", "{weekday}, {d} {month} {y}", "{month} {d}, {y}", "{d}.{m}.{y}", "{m}/{d}/{y}", "{mon} {d} {y}",
        "{weekday} {d} {mon} {y}"]  # fmt: skip
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]  # fmt: skip
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
OUTPUT = "0123456789-^"  # ^ opens the output


def dates():
    """Pairs (how a person writes the day, ISO 8601)."""
    pairs = []
    day = datetime.date(1900, 1, 1)
    while day.year < 2000:
        month = MONTHS[day.month - 1]
        text = WAYS[len(pairs) % len(WAYS)].format(
            d=day.day, m=day.month, y=day.year, month=month, mon=month[:3], weekday=DAYS[day.weekday()]
        )
        pairs.append((text, day.isoformat()))
        day += datetime.timedelta(days=1)
    return pairs


def tensors(pairs):
    """The characters of the inputs, the inputs (N, L), filled up with 0, and the outputs (N, 11), opened with ^."""
    characters = ["<pad>"] + sorted({c for text, _ in pairs for c in text})
    index = {c: i for i, c in enumerate(characters)}
    x = [torch.tensor([index[c] for c in text]) for text, _ in pairs]
    y = torch.tensor([[OUTPUT.index(c) for c in "^" + iso] for _, iso in pairs])
    return characters, nn.utils.rnn.pad_sequence(x, batch_first=True), y


class Seq2Seq(nn.Module):
    def __init__(self, characters, width=64):
        super().__init__()
        self.embedding = nn.Embedding(characters, width, padding_idx=0)
        self.encoder = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * width, width)
        self.written = nn.Embedding(len(OUTPUT), width)
        self.decoder = nn.GRUCell(3 * width, width)
        self.keys, self.query = nn.Linear(2 * width, width, bias=False), nn.Linear(width, width)
        self.energy = nn.Linear(width, 1, bias=False)
        self.head = nn.Linear(3 * width, len(OUTPUT))

    def forward(self, x, y=None):
        """x (N, L), y (N, 11) or None to write freely -> logits (N, 10, 12), attention (N, 10, L)."""
        memory, last = self.encoder(self.embedding(x))  # (N, L, 2 W), (2, N, W)
        state = torch.tanh(self.bridge(torch.cat([last[0], last[1]], dim=1)))  # (N, W)
        keys, padding = self.keys(memory), x == 0
        token = torch.full((len(x),), OUTPUT.index("^"))
        logits, attention = [], []
        for i in range(10):
            if y is not None:
                token = y[:, i]
            scores = self.energy(torch.tanh(keys + self.query(state).unsqueeze(1))).squeeze(2)  # (N, L)
            weights = F.softmax(scores.masked_fill(padding, float("-inf")), dim=1)
            seen = torch.bmm(weights.unsqueeze(1), memory).squeeze(1)  # (N, 2 W)
            state = self.decoder(torch.cat([self.written(token), seen], dim=1), state)
            logits.append(self.head(torch.cat([state, seen], dim=1)))
            attention.append(weights)
            token = logits[-1].argmax(1)
        return torch.stack(logits, dim=1), torch.stack(attention, dim=1)


def plot(texts, isos, attention, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, text, iso, weights in zip(figure.subplots(1, len(texts)), texts, isos, attention):
        axes.imshow(weights[:, : len(text)].T, cmap="magma", vmin=0, aspect="auto")  # (L, 10)
        axes.set_xticks(range(10), iso)
        axes.set_yticks(range(len(text)), text)
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")


def main():
    args = arguments(__doc__, steps=500, quick=50)
    pairs = dates()
    characters, x, y = tensors(pairs)
    order = torch.randperm(len(x))
    test, train = order[:1000], order[1000:]
    model = Seq2Seq(len(characters))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    losses = []
    for _ in range(args.steps):
        index = train[torch.randint(len(train), (64,))]
        logits, _ = model(x[index], y[index])
        loss = F.cross_entropy(logits.flatten(0, 1), y[index, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        progress(args, losses)

    model.eval()
    with torch.no_grad():
        logits, attention = model(x[test])
    written = logits.argmax(2)  # (1000, 10)
    shown = [next(i for i in range(1000) if test[i].item() % len(WAYS) == way) for way in (1, 3, 4, 5)]
    texts = [pairs[test[i].item()][0] for i in shown]
    isos = ["".join(OUTPUT[c] for c in written[i].tolist()) for i in shown]
    for text, iso in zip(texts, isos):
        print(f"{text:28s} -> {iso}")
    plot(texts, isos, attention[shown].numpy(), os.path.join(args.out, "seq2seq.png"))
    right = (written == y[test, 1:]).float()
    if args.quick:
        report(args, losses, "characters right", right.mean().item(), full=1.0, quick=0.5)
    else:
        report(args, losses, "dates right", right.amin(1).mean().item(), full=0.95, quick=0.0)


if __name__ == "__main__":
    main()
