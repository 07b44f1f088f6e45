"""Traces: one run of a model as a tape of steps on numbered values."""
import linecache
import os
import sys

from .. import _C
from ..nn import Module
from .errors import OnnxExporterError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
RANDOM = {"uniform", "normal", "log_normal", "random_int", "bernoulli", "bernoulli_tensor", "exponential", "geometric",
          "cauchy", "dropout", "randperm", "multinomial"}
# Views through which a write is carried back to their base, see Tape._written.
_INVERTIBLE = {"select", "slice", "view", "squeeze", "unsqueeze", "permute"}


class Step:
    """An op on values: `inputs` and `outputs` are their numbers, None where absent."""

    __slots__ = ("op", "inputs", "attrs", "outputs", "where", "path")

    def __init__(self, op, inputs, attrs, outputs, where, path):
        self.op, self.inputs, self.attrs, self.outputs, self.where, self.path = op, inputs, attrs, outputs, where, path


def _named_tensors(model):
    for pairs in (model.named_buffers(), model.named_parameters()):
        for name, tensor in pairs:
            yield _C._tensor_identity(tensor)[0], name


class Tape:
    """What _C._set_recorder tells of a run.

    A value is a tensor at one moment: a write in place makes a new value of the same tensor, and of the tensors that
    it is a view of; other tensors on its memory are stale from then on. (If all of it is free of the inputs, as when
    eye() fills its diagonal, their next use reads the memory afresh.)
    """

    def __init__(self, model):
        self.steps, self.tensors, self.maker = [], [], []
        self.contents = {}  # value from outside -> a copy, as its memory may be written later
        self._kept = []  # tensors whose addresses must stay taken
        self._now = {}  # address of a tensor -> its value
        self._on = {}  # address of a storage -> values on it
        self._stale = {}  # value -> (what made it stale, whether it is free of the inputs)
        self._free = set()  # values that do not depend on the inputs
        self._last_write = {}  # address of a storage -> the newest value that a write made on it
        named = isinstance(model, Module)
        self._names = {id(m): n for n, m in model.named_modules()} if named else {}
        self.parameters = dict(_named_tensors(model)) if named else {}  # address -> name

    def add(self, tensor, maker=None):
        """A new value; maker: the step that made it, None for what comes from outside."""
        number = len(self.tensors)
        self.tensors.append(tensor)
        self.maker.append(maker)
        address, storage = _C._tensor_identity(tensor)
        self._now[address] = number
        self._on.setdefault(storage, []).append(number)
        return number

    def _outside(self, tensor, is_parameter):
        number = self.add(tensor)
        self.contents[number] = tensor if is_parameter else tensor.detach().clone()
        self._free.add(number)
        return number

    def value(self, tensor):
        """The number of a tensor's value now."""
        address, storage = _C._tensor_identity(tensor)
        number = self._now.get(address)
        if number is None:
            for other in reversed(self._on.get(storage, ())):  # detach() and .data: another tensor on the same elements
                t = self.tensors[other]
                if (t.data_ptr() == tensor.data_ptr() and t.shape == tensor.shape and t.stride() == tensor.stride()
                        and t.dtype == tensor.dtype):
                    self._now[address] = other
                    self._kept.append(tensor)
                    return other
            if any(self.maker[other] is not None for other in self._on.get(storage, ())):
                raise OnnxExporterError("onnx.export: a view was made outside of the engine's ops (memory shared with "
                                        f"numpy or by set_), which a trace cannot follow. It was used {self.place()[0]}")
            return self._outside(tensor, address in self.parameters)
        if number in self._stale:
            what, free = self._stale[number]
            if not free:
                raise OnnxExporterError(
                    f"onnx.export: a tensor is used {self.place()[0]} whose memory was written in place through another "
                    f"view ({what}). Use an op that is not in place, or cat and stack")
            return self._outside(tensor, False)
        return number

    def record(self, op, inputs, attrs, outputs, in_place):
        """The recorder's callback."""
        where, path = self.place()
        numbers = [None if t is None else self.value(t) for t in inputs]
        step = Step(op, numbers, attrs, [], where, path)
        self.steps.append(step)
        if in_place:
            self._written(step, numbers[0], inputs[0])
        else:
            step.outputs = [None if t is None else self.add(t, step) for t in outputs]
            if self._is_free(step):
                self._free.update(v for v in step.outputs if v is not None)

    def _is_free(self, step):
        return step.op not in RANDOM and all(v is None or v in self._free for v in step.inputs)

    def written(self, v):
        """Whether the memory of value v was written after v was made."""
        return self._last_write.get(_C._tensor_identity(self.tensors[v])[1], -1) > v

    def _written(self, step, old, tensor):
        _, storage = _C._tensor_identity(tensor)
        others = [v for v in self._on[storage] if v != old]
        new = self.add(tensor, step)
        step.outputs = [new]
        fresh, free = {new}, self._is_free(step)
        if free:
            self._free.add(new)
        while (maker := self.maker[old]) is not None and maker.op in _INVERTIBLE and (
                maker.op != "slice" or maker.attrs["step"] == 1):
            base = maker.inputs[0]
            if self._now.get(_C._tensor_identity(self.tensors[base])[0]) != base:
                break
            back = Step("write_back_" + maker.op, [base, new], dict(maker.attrs), [], step.where, step.path)
            self.steps.append(back)
            new, old = self.add(self.tensors[base], back), base
            back.outputs = [new]
            fresh.add(new)
            if self._is_free(back):
                self._free.add(new)
        self._last_write[storage] = new
        for v in (old, *others):
            if self.contents.get(v) is self.tensors[v]:  # a parameter or buffer, about to change
                self.contents[v] = self.tensors[v].detach().clone()
        for v in others:
            a = _C._tensor_identity(self.tensors[v])[0]
            if self._now.get(a) == v and v not in fresh:
                self._stale[v] = f"the op '{step.op}' {step.where}", free and v in self._free

    def place(self):
        """("in the module 'layers.0' (Block) at model.py:12 in forward: `x = …`", "layers.0") of the running call."""
        frame, module, user = sys._getframe(1), None, None
        while frame is not None and (module is None or user is None):
            code = frame.f_code
            if module is None and code.co_name == "forward":
                owner = frame.f_locals.get(code.co_varnames[0]) if code.co_varnames else None
                if id(owner) in self._names:
                    module = owner
            if user is None and not code.co_filename.startswith(_PACKAGE):
                line = linecache.getline(code.co_filename, frame.f_lineno).strip()
                user = f"at {code.co_filename}:{frame.f_lineno} in {code.co_name}" + (f": `{line}`" if line else "")
            frame = frame.f_back
        if module is None:
            return user or "outside of any module", ""
        path = self._names[id(module)]
        named = f"in the module {path!r} ({type(module).__name__})" if path else f"in {type(module).__name__}"
        return f"{named} {user or ''}".strip(), path


def trace(model, args, kwargs, tensors):
    """(tape, result) of model(*args, **kwargs) without gradients; `tensors`, the inputs, are the first values."""
    tape = Tape(model)
    for t in tensors:
        tape.add(t)
    with _C.no_grad():
        _C._set_recorder(tape.record)
        try:
            result = model(*args, **kwargs)
        finally:
            _C._set_recorder(None)
    return tape, result
