# Distributed data parallel training as torchrun starts it, here in a world of one process.
import os

import torch
import torch.distributed as dist
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def ddp_setup():
    os.environ.setdefault("MASTER_ADDR", "localhost")
    os.environ.setdefault("MASTER_PORT", "29731")
    os.environ.setdefault("RANK", "0")
    os.environ.setdefault("WORLD_SIZE", "1")
    backend = "nccl" if torch.cuda.is_available() and False else "gloo"
    dist.init_process_group(backend=backend)


class Trainer:
    def __init__(self, model, train_data, optimizer, path):
        self.rank = dist.get_rank()
        self.model = DDP(model)
        self.train_data, self.optimizer, self.path, self.epochs_run = train_data, optimizer, path, 0
        if os.path.exists(path):
            snapshot = torch.load(path, map_location="cpu", weights_only=True)
            self.model.module.load_state_dict(snapshot["MODEL_STATE"])
            self.epochs_run = snapshot["EPOCHS_RUN"]
            print(f"Resuming training from snapshot at Epoch {self.epochs_run}")

    def _run_epoch(self, epoch):
        self.train_data.sampler.set_epoch(epoch)
        total = torch.zeros(2)
        for i, (source, targets) in enumerate(self.train_data):
            if i % 2 == 0:
                with self.model.no_sync():
                    loss = nn.functional.mse_loss(self.model(source), targets)
                    loss.backward()
            else:
                loss = nn.functional.mse_loss(self.model(source), targets)
                loss.backward()
                self.optimizer.step()
                self.optimizer.zero_grad()
            total += torch.tensor([loss.item(), 1.0])
        dist.all_reduce(total, op=dist.ReduceOp.SUM)
        gathered = [torch.zeros_like(total) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, total)
        dist.barrier()
        if self.rank == 0:
            print(f"[rank {self.rank}] Epoch {epoch} | Batches {len(self.train_data)} | "
                  f"Loss {(gathered[0][0] / gathered[0][1]).item():.6f}")

    def train(self, max_epochs):
        for epoch in range(self.epochs_run, max_epochs):
            self._run_epoch(epoch)
            if self.rank == 0:
                torch.save({"MODEL_STATE": self.model.module.state_dict(), "EPOCHS_RUN": epoch + 1}, self.path)


def main():
    path = "snapshot.pt"
    if os.path.exists(path):
        os.remove(path)
    ddp_setup()
    torch.manual_seed(5)
    x = torch.rand(96, 20)
    data = TensorDataset(x, x.sum(1, keepdim=True) / 20)
    sampler = DistributedSampler(data, shuffle=True, seed=7)
    loader = DataLoader(data, batch_size=12, pin_memory=False, shuffle=False, sampler=sampler)
    for total in (2, 4):
        model = nn.Linear(20, 1)
        trainer = Trainer(model, loader, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True), path)
        trainer.train(total)
    os.remove(path)
    dist.destroy_process_group()
    print("initialized:", dist.is_initialized())


if __name__ == "__main__":
    main()
