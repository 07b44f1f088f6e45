"""Adafactor: adaptive rates with factored second moments (Shazeer and Stern 2018)."""

from __future__ import annotations

import fireseed as fs

from .optimizer import Optimizer, _check_lr, _number, _scalar_dtype, _with_hooks

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Keeps, for a matrix, the row and column means of g^2 instead of g^2's own moving average.

    At step t the averages move by t^beta2_decay; the rate is min(lr, 1 / sqrt(t)) times the parameter's root mean
    square (at least eps[1]); updates are divided by max(1, their root mean square / d).
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        beta2_decay=-0.8,
        eps=(None, 1e-3),
        d=1.0,
        weight_decay=0.0,
        *,
        foreach=None,
        maximize=False,
    ):
        _check_lr(lr, "Learning rate should be >= 0 but is")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)
            for p in group["params"]:
                own = self.state.get(p)
                if own and not isinstance(own["step"], fs.Tensor):
                    own["step"] = fs.tensor(float(own["step"]), dtype=_scalar_dtype(), device=p.device)

    @_with_hooks
    def step(self, closure=None):
        """Updates the parameters once; ``closure`` computes the loss anew, and its value is returned."""
        loss = None
        if closure is not None:
            with fs.enable_grad():
                loss = closure()
        with fs.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._update(group, p)
        return loss

    def _update(self, group, p):
        g, state = p.grad, self.state[p]
        if not state:
            state["step"] = fs.tensor(0.0, dtype=_scalar_dtype(), device=p.device)
            if g.dim() > 1:
                state["row_var"] = fs.zeros_like(g[..., :1])
                state["col_var"] = fs.zeros_like(g[..., :1, :])
            else:
                state["variance"] = fs.zeros_like(g)
        if group["maximize"]:
            g = -g
        lr, (eps1, eps2) = _number(group["lr"]), group["eps"]
        if eps1 is None:
            eps1 = fs.finfo(p.dtype).eps
        state["step"].add_(1)
        t = state["step"].item()
        share = t ** group["beta2_decay"]
        rate = max(eps2, p.norm(2).item() / p.numel() ** 0.5) * min(lr, 1 / t**0.5)
        if group["weight_decay"] != 0:
            p.mul_(1 - lr * group["weight_decay"])
        if g.dim() > 1:
            rows, columns = state["row_var"], state["col_var"]
            rows.lerp_(g.norm(2, -1, keepdim=True).square().div(g.size(-1)), share)
            columns.lerp_(g.norm(2, -2, keepdim=True).square().div(g.size(-2)), share)
            variance = (rows @ columns).div(rows.mean(-2, keepdim=True).clamp(min=eps1))
        else:
            state["variance"].lerp_(g * g, share)
            variance = state["variance"]
        update = variance.clamp(min=eps1 * eps1).rsqrt() * g
        too_long = max(1.0, update.norm(2).item() / (update.numel() ** 0.5 * group["d"]))
        p.add_(update, alpha=-rate / too_long)
