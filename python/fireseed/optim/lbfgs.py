"""Limited-memory BFGS (Nocedal 1980; Nocedal and Wright, "Numerical Optimization", chapters 3 and 7)."""

from __future__ import annotations

import fireseed as fs

from .optimizer import Optimizer, _check_lr, _number

__all__ = ["LBFGS"]


def _cubic_minimum(x1, f1, g1, x2, f2, g2, bounds=None):
    """Minimiser, within bounds, of the cubic through two points with values f and slopes g (Nocedal, eq. 3.59)."""
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square**0.5
    if x1 <= x2:
        x = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        x = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return min(max(x, low), high)


class _Point:
    """A trial on the line: step t, value f, gradient g, slope along the direction."""

    __slots__ = ("f", "g", "slope", "t")

    def __init__(self, t, f, g, slope):
        self.t, self.f, self.g, self.slope = t, f, g, slope


def _strong_wolfe(evaluate, start, t, direction, c1=1e-4, c2=0.9, tolerance_change=1e-9, max_evals=25):
    """A step that satisfies the strong Wolfe conditions, by bracketing and zooming (Nocedal, algorithms 3.5 and 3.6).

    ``evaluate(t)`` gives value and gradient at step t; ``start`` is the point at 0. Returns (point, evaluations).
    """
    largest = direction.abs().max().item()

    def trial(t):
        f, g = evaluate(t)
        return _Point(t, f, g, g.dot(direction).item())

    def too_high(p, other):
        return p.f > start.f + c1 * p.t * start.slope or other

    def flat(p):
        return abs(p.slope) <= -c2 * start.slope

    new, previous, evals, rounds = trial(t), start, 1, 0
    bracket, done = None, False
    while rounds < max_evals:
        if too_high(new, rounds > 1 and new.f >= previous.f):
            bracket = [previous, new]
            break
        if flat(new):
            bracket, done = [new, new], True
            break
        if new.slope >= 0:
            bracket = [previous, new]
            break
        least, most = new.t + 0.01 * (new.t - previous.t), new.t * 10
        t = _cubic_minimum(previous.t, previous.f, previous.slope, new.t, new.f, new.slope, (least, most))
        previous, new = new, trial(t)
        evals += 1
        rounds += 1
    if bracket is None:
        bracket = [start, new]
    low, high = sorted(bracket, key=lambda p: p.f) if bracket[0].f > bracket[1].f else bracket
    stalled = False
    while not done and rounds < max_evals:
        if abs(high.t - low.t) * largest < tolerance_change:
            break
        first, last = bracket
        t = _cubic_minimum(first.t, first.f, first.slope, last.t, last.f, last.slope)
        # A trial next to an end of the bracket twice running is no progress: go a tenth of the way inside.
        left, right = min(low.t, high.t), max(low.t, high.t)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if stalled or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        new = trial(t)
        evals += 1
        rounds += 1
        low_at, high_at = bracket.index(low), bracket.index(high)
        if low_at == high_at:
            high_at = 1 - low_at
        if too_high(new, new.f >= low.f):
            bracket[high_at] = high = new
            if bracket[0].f <= bracket[1].f:
                low, high = bracket
            else:
                high, low = bracket
        else:
            if flat(new):
                done = True
            elif new.slope * (high.t - low.t) >= 0:
                bracket[high_at] = high = low
            bracket[low_at] = low = new
    return low, evals


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last ``history_size`` changes of parameters and gradients.

    ``step`` needs a closure that clears the gradients, computes the loss, calls backward and returns the loss.
    ``line_search_fn``: None (fixed steps of ``lr``) or "strong_wolfe". One parameter group only.
    """

    def __init__(
        self,
        params,
        lr=1,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    ):
        _check_lr(lr)
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @property
    def _params(self):
        return self.param_groups[0]["params"]

    def _flat_gradient(self):
        parts = [fs.zeros_like(p) if p.grad is None else p.grad for p in self._params]
        return fs.cat([part.reshape(-1) for part in parts], 0)

    def _move(self, t, direction):
        """Adds t * direction to the parameters."""
        at = 0
        for p in self._params:
            n = p.numel()
            p.add_(direction[at : at + n].view(p.shape), alpha=t)
            at += n

    def step(self, closure):
        """Up to ``max_iter`` iterations; returns the closure's value at the start."""
        with fs.no_grad():
            return self._iterate(closure)

    def _iterate(self, closure):
        group = self.param_groups[0]
        lr = _number(group["lr"])
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")

        def loss_and_gradient():
            with fs.enable_grad():
                loss = closure()
            return loss, self._flat_gradient()

        # All state is global; it stands with the first parameter, so that loading casts it.
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss, g = loss_and_gradient()
        loss = float(first_loss)
        evals = 1
        state["func_evals"] += 1
        if g.abs().max().item() <= group["tolerance_grad"]:
            return first_loss

        d, t = state.get("d"), state.get("t")
        dirs, steps, ro = state.get("old_dirs"), state.get("old_stps"), state.get("ro")
        scale = state.get("H_diag")
        previous_g, previous_loss = state.get("prev_flat_grad"), state.get("prev_loss")
        n_iter = 0
        while n_iter < group["max_iter"]:
            n_iter += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d, dirs, steps, ro, scale = -g, [], [], [], 1
            else:
                y, s = g - previous_g, d * t
                curvature = y.dot(s).item()
                if curvature > 1e-10:
                    if len(dirs) == group["history_size"]:
                        for history in (dirs, steps, ro):
                            history.pop(0)
                    dirs.append(y)
                    steps.append(s)
                    ro.append(1.0 / curvature)
                    scale = curvature / y.dot(y).item()
                d = self._two_loops(-g, dirs, steps, ro, scale)
            previous_g, previous_loss = g.clone(), loss
            t = min(1.0, 1.0 / g.abs().sum().item()) * lr if state["n_iter"] == 1 else lr
            slope = g.dot(d).item()
            if slope > -group["tolerance_change"]:
                break
            if group["line_search_fn"] is not None:
                loss, g, t, used = self._search(loss_and_gradient, loss, g, t, d, slope, group["max_eval"] - evals)
            else:
                self._move(t, d)
                used = 0
                if n_iter != group["max_iter"]:  # nothing needs the loss after the last one
                    loss, g = loss_and_gradient()
                    loss = float(loss)
                    used = 1
            evals += used
            state["func_evals"] += used
            if (
                n_iter == group["max_iter"]
                or evals >= group["max_eval"]
                or g.abs().max().item() <= group["tolerance_grad"]
                or (d * t).abs().max().item() <= group["tolerance_change"]
                or abs(loss - previous_loss) < group["tolerance_change"]
            ):
                break
        state.update(
            d=d,
            t=t,
            old_dirs=dirs,
            old_stps=steps,
            ro=ro,
            H_diag=scale,
            prev_flat_grad=previous_g,
            prev_loss=previous_loss,
        )
        return first_loss

    @staticmethod
    def _two_loops(q, dirs, steps, ro, scale):
        """The approximate inverse Hessian times q (Nocedal, algorithm 7.4)."""
        factors = [0.0] * len(dirs)
        for i in range(len(dirs) - 1, -1, -1):
            factors[i] = steps[i].dot(q).item() * float(ro[i])
            q.add_(dirs[i], alpha=-factors[i])
        r = q * float(scale)
        for i in range(len(dirs)):
            r.add_(steps[i], alpha=factors[i] - dirs[i].dot(r).item() * float(ro[i]))
        return r

    def _search(self, loss_and_gradient, loss, g, t, d, slope, max_evals):
        at_start = [p.clone() for p in self._params]

        def evaluate(step):
            self._move(step, d)
            value, gradient = loss_and_gradient()
            for p, saved in zip(self._params, at_start):
                p.copy_(saved)
            return float(value), gradient

        point, used = _strong_wolfe(evaluate, _Point(0, loss, g, slope), t, d, max_evals=max_evals)
        self._move(point.t, d)
        return point.f, point.g, point.t, used
