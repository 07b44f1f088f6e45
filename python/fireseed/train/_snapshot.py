"""The state of a run, put back bit for bit: for lr_find, overfit_batch and lint, which train and undo it."""
import copy

from .. import _C
from .checkpoint import _random_states, _restore_random

Tensor = _C.Tensor
_PLAIN = (bool, int, float, str, bytes, type(None))


def _copied(value):
    """A state dict with its tensors cloned."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(v) for v in value) if not hasattr(value, "_fields") else value
    return copy.deepcopy(value) if not callable(value) else value


def generators_of(data):
    """The random generators that a DataLoader and its samplers, also those inside samplers, were given."""
    found, owners = {}, [data]
    for owner in owners:
        generator = getattr(owner, "generator", None)
        if isinstance(generator, _C.Generator):
            found[id(generator)] = generator
        inner = (getattr(owner, "sampler", None), getattr(owner, "batch_sampler", None))
        owners.extend(o for o in inner if o is not None and all(o is not one for one in owners))
    return list(found.values())


class Snapshot:
    """On leaving the `with` block, everything is as it was on entering it, bit for bit:

    parameters, buffers (also those not in state_dict), gradients, modes and plain attributes (numbers, strings) of all
    modules; the optimizer's and the scaler's state; the random generators of fireseed, Python, numpy and the GPUs, and
    of the data loader and its sampler.
    """

    def __init__(self, model, optimizer=None, scaler=None, data=None):
        self.model, self.optimizer, self.scaler, self.data = model, optimizer, scaler, data

    def __enter__(self):
        model = self.model
        held = {id(p): p for p in (*model.parameters(), *model.buffers())}
        if self.optimizer is not None:
            held.update((id(p), p) for group in self.optimizer.param_groups for p in group["params"])
        self.tensors = [(t, t.detach().clone(), t.grad, None if t.grad is None else t.grad.detach().clone())
                        for t in held.values()]
        self.plain = [(m, m.training, dict(m._buffers), {k: v for k, v in vars(m).items() if isinstance(v, _PLAIN)})
                      for m in model.modules()]
        self.states = [(part, _copied(part.state_dict())) for part in (self.optimizer, self.scaler)
                       if part is not None]
        self.generators = [(g, g.get_state()) for g in generators_of(self.data)]
        self.random = _random_states()
        return self

    def __exit__(self, *exc):
        with _C.no_grad():
            for module, training, buffers, plain in self.plain:
                module.training = training
                for name, buffer in buffers.items():
                    if module._buffers.get(name) is not buffer:
                        module._buffers[name] = buffer
                for name, value in plain.items():
                    if vars(module).get(name) is not value:
                        setattr(module, name, value)
            for t, value, grad, grad_value in self.tensors:
                t.copy_(value)
                if grad is not None:
                    grad.copy_(grad_value)
                if t.grad is not grad:
                    t.grad = grad
        for part, state in self.states:
            part.load_state_dict(state)
        for generator, state in self.generators:
            generator.set_state(state)
        _restore_random(self.random)
