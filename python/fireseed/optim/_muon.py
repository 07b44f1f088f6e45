"""Muon: momentum with orthogonalised updates for weight matrices (Jordan et al. 2024)."""

from __future__ import annotations

import math

import fireseed as fs

from .optimizer import Optimizer, _check_lr, _number, _with_hooks

__all__ = ["Muon"]


def _orthogonalize(g, coefficients, steps, eps):
    """A matrix with g's singular vectors and singular values near 1, by a quintic Newton-Schulz iteration in bfloat16.

    X <- a X + (b A + c A^2) X with A = X X^T; the coefficients favour a steep start over exact convergence.
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = g.size(0) > g.size(1)
    x = g.to(fs.bfloat16)
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = fs.addmm(x, fs.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def _adjusted_lr(lr, rule, shape):
    """lr scaled to the matrix's shape: "original" (or None), or "match_rms_adamw" (Liu et al. 2025)."""
    rows, columns = shape[:2]
    if rule is None or rule == "original":
        return lr * math.sqrt(max(1, rows / columns))
    return lr * 0.2 * math.sqrt(max(rows, columns))


class Muon(Optimizer):
    """m = momentum * m + (1 - momentum) * g; p = (1 - lr * weight_decay) * p - lr' * orthogonalised m.

    With ``nesterov`` the average of g and m, weighted by momentum, takes the place of m. Matrices only: give the other
    parameters to AdamW.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
    ):
        _check_lr(lr, "Learning rate should be >= 0 but is")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}"
                    )

    @_with_hooks
    def step(self, closure=None):
        """Updates the parameters once; ``closure`` computes the loss anew, and its value is returned."""
        loss = None
        if closure is not None:
            with fs.enable_grad():
                loss = closure()
        with fs.no_grad():
            for group in self.param_groups:
                lr = _number(group["lr"])
                for p in group["params"]:
                    if p.grad is not None:
                        self._update(group, lr, p)
        return loss

    def _update(self, group, lr, p):
        state, g = self.state[p], p.grad
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = fs.zeros_like(g)
        mean = state["momentum_buffer"]
        mean.lerp_(g, 1 - group["momentum"])
        update = g.lerp(mean, group["momentum"]) if group["nesterov"] else mean
        update = _orthogonalize(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        p.mul_(1 - lr * group["weight_decay"])
        p.add_(update.to(p.dtype), alpha=-_adjusted_lr(lr, group["adjust_lr_fn"], p.shape))
