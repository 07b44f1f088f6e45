# Optimizers and schedulers written in the script, averaged weights, layer-wise rates, checkpointing, resuming.
import copy
import io
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import _LRScheduler
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(11)


class SAM(Optimizer):
    """Sharpness-aware minimisation (Foret et al. 2021) around a base optimizer."""

    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        if rho < 0.0:
            raise ValueError(f"Invalid rho, should be non-negative: {rho}")
        defaults = dict(rho=rho, **kwargs)
        super().__init__(params, defaults)
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norm = torch.norm(torch.stack([p.grad.norm(p=2) for group in self.param_groups for p in group["params"]
                                       if p.grad is not None]), p=2)
        for group in self.param_groups:
            scale = group["rho"] / (norm + 1e-12)
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * scale.to(p))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        self.first_step(zero_grad=True)
        loss = closure()
        self.second_step()
        return loss


class Lamb(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                grad, state = p.grad.data, self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(p.data)
                    state["exp_avg_sq"] = torch.zeros_like(p.data)
                beta1, beta2 = group["betas"]
                state["step"] += 1
                state["exp_avg"].mul_(beta1).add_(grad, alpha=1 - beta1)
                state["exp_avg_sq"].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                update = state["exp_avg"] / state["exp_avg_sq"].sqrt().add(group["eps"])
                if group["weight_decay"] != 0:
                    update.add_(p.data, alpha=group["weight_decay"])
                weight_norm, update_norm = p.data.pow(2).sum().sqrt().clamp(0, 10), update.pow(2).sum().sqrt()
                ratio = 1 if weight_norm == 0 or update_norm == 0 else weight_norm / update_norm
                p.data.add_(update, alpha=-group["lr"] * float(ratio))


class WarmupCosine(_LRScheduler):
    def __init__(self, optimizer, warmup, total, last_epoch=-1):
        self.warmup, self.total = warmup, total
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        if self.last_epoch < self.warmup:
            return [base * (self.last_epoch + 1) / self.warmup for base in self.base_lrs]
        t = (self.last_epoch - self.warmup) / max(1, self.total - self.warmup)
        return [base * 0.5 * (1 + math.cos(math.pi * t)) for base in self.base_lrs]


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.fc = nn.utils.parametrizations.weight_norm(nn.Linear(width, width))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        return x + F.silu(self.fc(self.norm(x)))


class Net(nn.Module):
    def __init__(self, width=16, depth=3):
        super().__init__()
        self.stem = nn.Linear(4, width)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks[:-1]:
            x = block(x)
        x = checkpoint(self.blocks[-1].fc, x, use_reentrant=False)
        return self.head(x)


x = torch.randn(96, 4)
y = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()


def batches(size=32):
    for idx in torch.randperm(len(x)).split(size):
        yield x[idx], y[idx]


net = Net()
groups = [{"params": net.stem.parameters(), "lr": 0.01}, {"params": net.blocks.parameters(), "lr": 0.02},
          {"params": net.head.parameters()}]
optimizer = SAM(groups, torch.optim.SGD, rho=0.05, lr=0.05, momentum=0.9)
scheduler = WarmupCosine(optimizer.base_optimizer, 2, 9)
for epoch in range(3):
    for xb, yb in batches():
        def closure(xb=xb, yb=yb):
            loss = F.cross_entropy(net(xb), yb)
            loss.backward()
            return loss

        loss = closure()
        optimizer.step(closure)
        optimizer.zero_grad()
        scheduler.step()
    print(f"sam epoch {epoch} loss {loss.item():.5f} lr {[round(lr, 6) for lr in scheduler.get_last_lr()]}")

ema = copy.deepcopy(net)
for p in ema.parameters():
    p.requires_grad_(False)
optimizer = Lamb(net.parameters(), lr=0.02, weight_decay=0.01)
swa, swa_scheduler = AveragedModel(net), SWALR(optimizer, swa_lr=0.01, anneal_epochs=2)
for epoch in range(3):
    for xb, yb in batches():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(xb), yb, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for e, p in zip(ema.state_dict().values(), net.state_dict().values()):
                if e.dtype.is_floating_point:
                    e.mul_(0.9).add_(p, alpha=0.1)
                else:
                    e.copy_(p)
    swa.update_parameters(net)
    swa_scheduler.step()
    print(f"lamb epoch {epoch} loss {loss.item():.5f} lr {optimizer.param_groups[0]['lr']:.6f}")
update_bn([(x,)], swa)
for name, model in (("ema", ema), ("swa", swa)):
    model.eval()
    with torch.no_grad():
        print(name, f"loss {F.cross_entropy(model(x), y).item():.5f}")

# a checkpoint with everything, and a run that goes on from it as if it had never stopped
adam = torch.optim.AdamW(net.parameters(), lr=0.01)
plateau = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(adam, T_0=3, T_mult=2)


def steps(model, optimizer, scheduler, n):
    model.train()
    for _ in range(n):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
    return loss.item()


steps(net, adam, plateau, 3)
buffer = io.BytesIO()
torch.save({"model": net.state_dict(), "optimizer": adam.state_dict(), "scheduler": plateau.state_dict(), "epoch": 3}, buffer)
straight = steps(net, adam, plateau, 4)
buffer.seek(0)
saved = torch.load(buffer, weights_only=True)
again = Net()
result = again.load_state_dict({k: v for k, v in saved["model"].items() if not k.startswith("head.1")}, strict=False)
print("missing", result.missing_keys, result.unexpected_keys)
again.load_state_dict(saved["model"])
adam2 = torch.optim.AdamW(again.parameters(), lr=0.5)
plateau2 = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(adam2, T_0=3, T_mult=2)
adam2.load_state_dict(saved["optimizer"])
plateau2.load_state_dict(saved["scheduler"])
resumed = steps(again, adam2, plateau2, 4)
print(f"resumed loss {resumed:.6f} the same: {resumed == straight} calls {int(again.blocks[0].calls)}")
