# Data sets of every kind and what loaders do with them: iterable, weighted, of dicts, concatenated, split, collated.
import random
from collections import OrderedDict, defaultdict

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
    random_split,
)


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


seed_everything(7)


class Sentences(Dataset):
    """Dicts of arrays, numbers and strings."""

    def __init__(self, n):
        self.items = [{"ids": np.arange(i % 4 + 1), "label": i % 2, "weight": float(i) / n, "text": f"s{i}"}
                      for i in range(n)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Stream(IterableDataset):
    def __init__(self, start, end):
        super().__init__()
        self.start, self.end = start, end

    def __iter__(self):
        info = get_worker_info()
        step, first = (1, 0) if info is None else (info.num_workers, info.id)
        return iter(range(self.start + first, self.end, step))


def pad(batch):
    width = max(len(b["ids"]) for b in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    for row, b in zip(ids, batch):
        row[:len(b["ids"])] = torch.from_numpy(b["ids"])
    return {"ids": ids, "label": torch.tensor([b["label"] for b in batch]), "text": [b["text"] for b in batch]}


data = Sentences(12)
for batch in DataLoader(data, batch_size=5, shuffle=True, collate_fn=pad):
    print(tuple(batch["ids"].shape), batch["label"].tolist(), batch["text"])
batch = next(iter(DataLoader(Subset(data, [0, 4, 8]), batch_size=3)))
print({k: (v.dtype, tuple(v.shape)) if torch.is_tensor(v) else v for k, v in batch.items()})
print(default_collate([(1, {"a": 2.0}), (3, {"a": 4.0})]), default_collate([OrderedDict(x=torch.ones(2))] * 2)["x"].shape)
print([b.tolist() for b in DataLoader(Stream(3, 11), batch_size=3)])
print(sorted(v for b in DataLoader(Stream(0, 8), batch_size=2, num_workers=2) for v in b.tolist()))

labels = torch.tensor([0] * 20 + [1] * 4)
points = TensorDataset(torch.randn(24, 3) + labels[:, None], labels)
counts = torch.bincount(labels)
weights = (1.0 / counts.float())[labels]
sampler = WeightedRandomSampler(weights, num_samples=24, replacement=True)
seen = defaultdict(int)
for _, y in DataLoader(points, sampler=sampler, batch_size=6):
    for v in y.tolist():
        seen[v] += 1
print("weighted", dict(sorted(seen.items())))
train, valid = random_split(points, [0.75, 0.25], generator=torch.Generator().manual_seed(3))
print(len(train), len(valid), valid.indices)
print(list(BatchSampler(SubsetRandomSampler([4, 5, 6, 7, 8]), 2, drop_last=True)))
print(list(RandomSampler(range(4), generator=torch.Generator().manual_seed(0))))
both = ConcatDataset([points, TensorDataset(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))])
print(len(both), both[25][0].tolist(), both.cumulative_sizes)

net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1), nn.Flatten(0))
optimizer = torch.optim.NAdam(net.parameters(), lr=0.05)
criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0))
loader = DataLoader(train, batch_size=6, shuffle=True, drop_last=True, pin_memory=False,
                    generator=torch.Generator().manual_seed(1))
for epoch in range(4):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(x), y.float())
        loss.backward()
        optimizer.step()
        total += loss.item() * len(x)
    with torch.inference_mode():
        xs, ys = map(torch.stack, zip(*valid))
        accuracy = ((net(xs) > 0) == ys.bool()).float().mean().item()
    print(f"epoch {epoch} loss {total / len(loader):.5f} accuracy {accuracy:.4f}")
