"""Optimizers whose whole step is one native call over all tensors of a parameter group."""

from __future__ import annotations

import fireseed as fs

from .optimizer import (
    Optimizer,
    _changes,
    _check_flags,
    _global_post_hooks,
    _global_pre_hooks,
    _scalar_dtype,
    _with_hooks,
)

_run = fs._C._optim_run  # runs plans; False, and nothing done, where one is out of date

# Bits of a step's flags: cpp/tensor/attrs/optim.h.
MAXIMIZE, NESTEROV, MOMENTUM, AMSGRAD, DECOUPLED, CENTERED = 1, 2, 4, 16, 32, 64


def _rounds(params):
    """Lists of one device and without repetitions: a parameter that stands twice in a group is stepped twice."""
    rounds, met = {}, {}
    for p in params:
        n = met[id(p)] = met.get(id(p), 0) + 1
        rounds.setdefault((n, p.device), []).append(p)
    return [rounds[key] for key in sorted(rounds, key=lambda key: key[0])]


class FusedOptimizer(Optimizer):
    """An optimizer described by the name of its kernel and where the kernel's inputs stand.

    Subclasses set ``_kernel``, ``_hyper`` (keys of the group in the kernel's order; a pair (key, i) is item i of a
    tuple), ``_flags`` (pairs of key and bit) and ``_numbers`` (0-dim states, the step first), and define
    :meth:`_tensor_states` and :meth:`_new_state`.
    """

    _kernel = ""
    _hyper: tuple = ()
    _flags: tuple = ()
    _numbers: tuple = ("step",)
    _old_options: dict = {}  # options that state dicts of old versions lack

    def __init__(self, params, defaults):
        _check_flags(defaults)
        super().__init__(params, defaults)

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in self._old_options.items():
                group.setdefault(key, value)
            for p in group["params"]:
                own = self.state.get(p)
                for key in self._numbers:
                    if own and key in own and not isinstance(own[key], fs.Tensor):
                        own[key] = fs.tensor(float(own[key]), dtype=_scalar_dtype(), device=p.device)

    def _tensor_states(self, group):
        """Names of the states that have the parameter's shape, in the kernel's order."""
        raise NotImplementedError

    def _new_state(self, group, p, state):
        """Fills the empty state of a parameter that is stepped for the first time."""
        state["step"] = fs.tensor(0.0, dtype=_scalar_dtype(), device=p.device)
        for name in self._tensor_states(group):
            state[name] = fs.zeros_like(p)

    def step(self, closure=None):
        """Updates the parameters once; those without a gradient are left alone.

        ``closure``, if given, is called first with gradients enabled; its value is returned.
        """
        plans = self._plans
        if (
            plans is not None
            and closure is None
            and self._seen == _changes[0]
            and not self._optimizer_step_pre_hooks
            and not self._optimizer_step_post_hooks
            and not _global_pre_hooks
            and not _global_post_hooks
            and _run(plans)
        ):
            return None
        return self._hooked_step(closure)

    step.hooked = True

    def _plain_step(self, closure=None):
        loss = None
        if closure is not None:
            with fs.enable_grad():
                loss = closure()
        plans = self._plans
        if plans is not None and self._seen == _changes[0] and _run(plans):
            return loss
        self._plans = None
        plans, lasting = [], True
        with fs.no_grad():
            for group in self.param_groups:
                before = len(plans)
                for plan, keep in self._make_plans(group):
                    plans.append(plan)
                    lasting = lasting and keep
                if len(plans) == before:  # no gradients yet: a plan that does nothing until one of them comes
                    plans.append(self._plan(group, [], group["params"], False, ()))
        if not _run(plans):
            raise RuntimeError(f"{type(self).__name__}.step: the parameter groups changed during the step")
        if lasting:
            self._plans, self._seen = plans, _changes[0]
        return loss

    def _hooked_step(self, closure):
        if closure is None:
            return type(self)._step_between_hooks(self)
        return type(self)._step_between_hooks(self, closure)

    _step_between_hooks = _with_hooks(_plain_step)

    def _make_plans(self, group):
        """(plan, whether it serves for later steps) for the group's parameters that have gradients."""
        present = [p for p in group["params"] if p.grad is not None]
        absent = [p for p in group["params"] if p.grad is None]
        for members in _rounds(present):
            for p in members:
                state = self.state[p]
                if not state:
                    self._new_state(group, p, state)
            yield self._plan(group, members, absent, False), True

    def _plan(self, group, members, absent, first, names=None):
        states = []
        for name in names if names is not None else (*self._numbers, *self._tensor_states(group)):
            states.extend(self.state[p][name] for p in members)
        return fs._C._optim_plan(self._kernel, group, self._hyper, self._flags, first, members, states, absent)
