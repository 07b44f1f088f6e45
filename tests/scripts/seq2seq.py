# Translation with GRUs, packed sequences and attention, in the style of deep-learning course scripts.
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

PAD, SOS, EOS = 0, 1, 2
random.seed(3)
torch.manual_seed(3)


class Reversals(Dataset):
    """Sequences and their reversals."""

    def __init__(self, n):
        self.pairs = []
        for _ in range(n):
            seq = [random.randint(3, 9) for _ in range(random.randint(2, 6))]
            self.pairs.append((torch.LongTensor(seq + [EOS]), torch.LongTensor(seq[::-1] + [EOS])))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


class ByLength(Sampler):
    """Batches of similar length."""

    def __init__(self, data, batch_size):
        self.order = sorted(range(len(data)), key=lambda i: -len(data[i][0]))
        self.batch_size = batch_size

    def __iter__(self):
        chunks = [self.order[i:i + self.batch_size] for i in range(0, len(self.order), self.batch_size)]
        for i in torch.randperm(len(chunks)).tolist():
            yield chunks[i]

    def __len__(self):
        return (len(self.order) + self.batch_size - 1) // self.batch_size


def collate(batch):
    batch = sorted(batch, key=lambda p: len(p[0]), reverse=True)
    src, tgt = zip(*batch)
    lengths = torch.tensor([len(s) for s in src])
    return pad_sequence(src, batch_first=True, padding_value=PAD), lengths, pad_sequence(tgt, True, PAD)


class Encoder(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden, padding_idx=PAD)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, hidden)

    def forward(self, src, lengths):
        packed = pack_padded_sequence(self.embedding(src), lengths.cpu(), batch_first=True)
        outputs, hidden = self.gru(packed)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True)
        return outputs, torch.tanh(self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1))).unsqueeze(0)


class Decoder(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.query = nn.Linear(hidden, 2 * hidden, bias=False)
        self.cell = nn.GRUCell(3 * hidden, hidden)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, token, hidden, outputs, mask):
        scores = torch.bmm(outputs, self.query(hidden).unsqueeze(2)).squeeze(2)
        weights = F.softmax(scores.masked_fill(mask, -1e9), dim=1)
        context = torch.bmm(weights.unsqueeze(1), outputs).squeeze(1)
        hidden = self.cell(torch.cat([self.embedding(token), context], dim=-1), hidden)
        return self.out(hidden), hidden, weights


data = Reversals(48)
loader = DataLoader(data, batch_sampler=ByLength(data, 8), collate_fn=collate)
encoder, decoder = Encoder(10, 16), Decoder(10, 16)
params = list(encoder.parameters()) + list(decoder.parameters())
optimizer = optim.RMSprop(params, lr=5e-3)
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=0)
for epoch in range(3):
    total = 0.0
    for src, lengths, tgt in loader:
        optimizer.zero_grad()
        outputs, hidden = encoder(src, lengths)
        hidden, mask = hidden.squeeze(0), src[:, :outputs.size(1)] == PAD
        token = torch.full((src.size(0),), SOS, dtype=torch.long)
        loss = 0
        teacher = random.random() < 0.7
        for t in range(tgt.size(1)):
            logits, hidden, weights = decoder(token, hidden, outputs, mask)
            loss = loss + criterion(logits, tgt[:, t])
            token = tgt[:, t] if teacher else logits.topk(1)[1].squeeze(1).detach()
            if (tgt[:, t] == PAD).all():
                break
        loss.backward()
        norm = nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        total += loss.item() / tgt.size(1)
    scheduler.step(total)
    print(f"epoch {epoch} loss {total / len(loader):.5f} norm {norm:.5f} lr {optimizer.param_groups[0]['lr']}")
print("weights", [round(w, 4) for w in weights[0].tolist()])
