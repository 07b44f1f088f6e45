"""Averages of weights: stochastic weight averaging (Izmailov et al. 2018) and exponential moving averages."""

from __future__ import annotations

import itertools
import math
from copy import deepcopy

import fireseed as fs
from fireseed.nn import Module

from ._schedule_base import LRScheduler, _per_group

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay):
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_multi_avg_fn(decay=0.999):
    """A function of two lists of tensors that moves each average towards the present value by 1 - decay."""
    _check_decay(decay)

    def ema_update(averages, current, _):
        with fs.no_grad():
            for average, value in zip(averages, current):
                if average.is_floating_point():
                    average.lerp_(value, 1 - decay)
                else:
                    average.copy_(average * decay + value * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn():
    """A function of two lists of tensors that makes each average the mean of one value more."""

    def swa_update(averages, current, num_averaged):
        share = 1 / (int(num_averaged) + 1)
        with fs.no_grad():
            for average, value in zip(averages, current):
                if average.is_floating_point():
                    average.lerp_(value, share)
                else:
                    average.copy_(average + (value - average) * share)

    return swa_update


def get_ema_avg_fn(decay=0.999):
    """A function (average, value, n) -> decay * average + (1 - decay) * value."""
    _check_decay(decay)

    def ema_update(average, value, num_averaged):
        with fs.no_grad():
            return decay * average + (1 - decay) * value

    return ema_update


def get_swa_avg_fn():
    """A function (average, value, n) -> the mean of n + 1 values."""

    def swa_update(average, value, num_averaged):
        with fs.no_grad():
            return average + (value - average) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model that holds the average of its parameters (and, with ``use_buffers``, of its buffers).

    Call :meth:`update_parameters` after optimizer steps. ``avg_fn`` or ``multi_avg_fn`` say how to average; the mean of
    all calls is the default. Other buffers follow the model's.
    """

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", fs.tensor(0, dtype=fs.long))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def _tensors(self, model):
        if self.use_buffers:
            return [t.detach() for t in itertools.chain(model.parameters(), model.buffers())]
        return [p.detach() for p in model.parameters()]

    def update_parameters(self, model):
        """Takes the model's present parameters into the average."""
        averages, current = self._tensors(self.module), self._tensors(model)
        with fs.no_grad():
            if int(self.n_averaged) == 0:
                for average, value in zip(averages, current):
                    average.copy_(value)
            elif self.avg_fn is not None:
                for average, value in zip(averages, current):
                    average.copy_(self.avg_fn(average, value, self.n_averaged))
            else:
                (self.multi_avg_fn or get_swa_multi_avg_fn())(averages, current, self.n_averaged)
            if not self.use_buffers:
                for ours, theirs in zip(self.module.buffers(), model.buffers()):
                    ours.detach().copy_(theirs.detach())
            self.n_averaged += 1


def update_bn(loader, model, device=None):
    """Computes the batch norm layers' running statistics anew, as means over all batches of ``loader``."""
    from fireseed.nn.modules.batchnorm import _BatchNorm

    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not layers:
        return
    momenta, was_training = [m.momentum for m in layers], model.training
    model.train()
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        with fs.no_grad():
            for batch in loader:
                if isinstance(batch, (list, tuple)):
                    batch = batch[0]
                model(batch if device is None else batch.to(device))
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """From each group's rate to ``swa_lr`` over ``anneal_epochs`` steps, then constant."""

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for value, group in zip(_per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups):
            group["swa_lr"] = value
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step):
        """How far the rate has gone towards swa_lr."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def get_lr(self):
        self._warn_outside_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            target = group["swa_lr"]
            start = target if before == 1 else (group["lr"] - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
