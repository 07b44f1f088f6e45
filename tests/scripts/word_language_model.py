# An LSTM language model trained by hand-written SGD, in the style of PyTorch's word_language_model example.
import math

import torch
import torch.nn as nn

torch.manual_seed(1111)
EMSIZE, NHID, NLAYERS, BPTT, BATCH, CLIP = 16, 24, 2, 12, 8, 0.25

text = ("the ember lights the torch and the torch lights the hall , "
        "a small fire is still a fire <eos> the hall is cold and the night is long <eos> ") * 20


class Dictionary:
    def __init__(self):
        self.word2idx, self.idx2word = {}, []

    def add_word(self, word):
        if word not in self.word2idx:
            self.idx2word.append(word)
            self.word2idx[word] = len(self.idx2word) - 1
        return self.word2idx[word]


dictionary = Dictionary()
ids = torch.tensor([dictionary.add_word(w) for w in text.split()]).type(torch.int64)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    data = data.narrow(0, 0, nbatch * bsz)
    return data.view(bsz, -1).t().contiguous()


class RNNModel(nn.Module):
    """Encoder, recurrent module, decoder; the decoder's weight is the encoder's."""

    def __init__(self, ntoken, ninp, nhid, nlayers, dropout=0.2):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = getattr(nn, "LSTM")(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        self.init_weights()
        self.ntoken, self.nhid, self.nlayers = ntoken, nhid, nlayers

    def init_weights(self):
        initrange = 0.1
        nn.init.uniform_(self.encoder.weight, -initrange, initrange)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -initrange, initrange)

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output))
        return torch.log_softmax(decoded.view(-1, self.ntoken), dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(self.nlayers, bsz, self.nhid))


def repackage_hidden(h):
    """Hidden states cut from their history."""
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


def get_batch(source, i):
    seq_len = min(BPTT, len(source) - 1 - i)
    return source[i:i + seq_len], source[i + 1:i + 1 + seq_len].view(-1)


train_data = batchify(ids, BATCH)
model = RNNModel(len(dictionary.idx2word), EMSIZE, NHID, NLAYERS)
criterion = nn.NLLLoss()
lr, best = 8.0, None
print("parameters:", sum(p.numel() for p in model.parameters() if p.requires_grad))

for epoch in range(1, 4):
    model.train()
    total_loss = 0.
    hidden = model.init_hidden(BATCH)
    for batch, i in enumerate(range(0, train_data.size(0) - 1, BPTT)):
        data, targets = get_batch(train_data, i)
        model.zero_grad()
        hidden = repackage_hidden(hidden)
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        total_loss += loss.item()
    model.eval()
    with torch.no_grad():
        output, _ = model(train_data[:-1], model.init_hidden(BATCH))
        val_loss = criterion(output, train_data[1:].reshape(-1)).item()
    print(f"| epoch {epoch:3d} | loss {total_loss / (batch + 1):.5f} | valid {val_loss:.5f} | ppl {math.exp(val_loss):.4f}")
    if best is None or val_loss < best:
        best = val_loss
    else:
        lr /= 4.0

with torch.no_grad():
    hidden = model.init_hidden(1)
    word = torch.randint(model.ntoken, (1, 1), dtype=torch.long)
    words = []
    for _ in range(8):
        output, hidden = model(word, hidden)
        weights = output.squeeze().div(0.8).exp().cpu()
        word.fill_(torch.multinomial(weights, 1)[0])
        words.append(dictionary.idx2word[word.item()])
print(" ".join(words))
