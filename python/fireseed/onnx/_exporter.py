"""From traces to a graph: values, constants, and the calls that the conversions in _ops see."""
from .. import _C
from ._graph import dtype_name
from ._ops import CONVERSIONS
from ._sizes import Sizes
from ._trace import RANDOM
from .errors import OnnxExporterError, UnsupportedOperatorError

# Inputs of which only the shape counts: what fill and copy_into write over.
_SHAPE_ONLY = {"fill": (0,), "copy_into": (0,)}
_DATA_SIZED = {"nonzero", "nonzero_count", "masked_select", "masked_scatter", "repeat_interleave"}


class Call:
    """A step, as a conversion sees it: names of inputs in the graph, attributes and shapes in all traces."""

    def __init__(self, exporter, index):
        self.exporter, self.graph, self.sizes = exporter, exporter.graph, exporter.sizes
        self.steps = [tape.steps[index] for tape in exporter.tapes]
        self.step = self.steps[0]
        self.op = self.step.op

    def has(self, i):
        """Whether input i is there."""
        return i < len(self.step.inputs) and self.step.inputs[i] is not None

    def x(self, i=0, dtype=None):
        """The name of input i, None if it is absent; cast to dtype where it has another."""
        if not self.has(i):
            return None
        name = self.exporter.name(self.step.inputs[i])
        return name if dtype in (None, self.dtype(i)) else self.graph.cast(name, dtype)

    def wanted(self, i):
        """Whether output i is used."""
        return self.step.outputs[i] in self.exporter.needed

    def attr(self, key):
        """An attribute that must be the same in all traces."""
        values = self.attrs(key)
        if any(v != values[0] for v in values):
            self.refuse(f"its '{key}' depends on the sizes or values of the inputs, without a formula here "
                        f"({', '.join(map(str, values))} in different runs)")
        return values[0]

    def attrs(self, key):
        """An attribute in each trace."""
        return [step.attrs[key] for step in self.steps]

    def number(self, key, dtype):
        """The name of a scalar with the number of an attribute, which may follow the dynamic axes."""
        values = self.attrs(key)
        if all(v == values[0] or v != v and values[0] != values[0] for v in values):
            return self.graph.const(values[0], dtype)
        expression = self.sizes.solve(values) if all(abs(v) < 2**53 for v in values) else None
        if expression is None:
            self.attr(key)
        scalar = self.graph.op("Squeeze", self.sizes.node(expression), self.graph.const((0,)))
        return self.graph.cast(scalar, dtype)

    def shape(self, i=0):
        """The shape of input i in the first trace."""
        return tuple(self.exporter.tapes[0].tensors[self.step.inputs[i]].shape)

    def shapes(self, i=0):
        """The shapes of input i in each trace."""
        return [tuple(tape.tensors[step.inputs[i]].shape) for tape, step in zip(self.exporter.tapes, self.steps)]

    def out_shapes(self, i=0):
        """The shapes of output i in each trace."""
        return [tuple(tape.tensors[step.outputs[i]].shape) for tape, step in zip(self.exporter.tapes, self.steps)]

    def dtype(self, i=0):
        """The dtype of input i, "float32"."""
        return dtype_name(self.exporter.tapes[0].tensors[self.step.inputs[i]].dtype)

    def out_dtype(self, i=0):
        """The dtype of output i."""
        return dtype_name(self.exporter.tapes[0].tensors[self.step.outputs[i]].dtype)

    def size_vector(self, shapes, infer=False):
        """The name of an int64 tensor with the sizes of shapes, one a trace."""
        return self.sizes.vector(shapes, f"the op '{self.op}' called {self.step.where}", infer)

    def fixed(self, values, what):
        """A number that must be the same in all traces."""
        values = list(values)
        if len(set(values)) > 1:
            self.refuse(f"{what} depends on a dynamic axis")
        return values[0]

    def constant(self, i):
        """The tensor of input i if it is the same in all traces, else None."""
        return self.exporter.constant(self.step.inputs[i])

    def refuse(self, reason):
        """Ends the export with an error that names the op and its place."""
        raise UnsupportedOperatorError(self.op, self.step.where, reason)


class Exporter:
    """Goes through the steps that the results need, in order, and names every value in the graph."""

    def __init__(self, tapes, symbols, sizes, graph, input_names):
        self.tapes, self.graph = tapes, graph
        self.sizes = Sizes(symbols, sizes, graph, input_names)
        self.names = dict(enumerate(input_names))  # the inputs are the first values
        self.inputs = len(input_names)
        self.index = {id(step): i for i, step in enumerate(tapes[0].steps)}
        self.needed = set()
        self._folded = {}

    def check_alike(self):
        """The traces must have the same steps."""
        first = self.tapes[0]
        for tape, sizes in zip(self.tapes[1:], self.sizes.sizes[1:]):
            resized = sizes != self.sizes.sizes[0]
            what = "size of a dynamic axis" if resized else "values of the inputs"
            advice = ("Leave that axis out of dynamic_axes, or take the decision out of forward()" if resized else
                      "Use where(), or pass check_values=False to export the example's way")
            for a, b in zip(first.steps, tape.steps):
                if a.op != b.op or a.inputs != b.inputs:
                    raise OnnxExporterError(
                        f"onnx.export: the model's path depends on the {what}: the op '{a.op}' was called {a.where}; with "
                        f"another input '{b.op}' {b.where}. {advice}")
            if len(tape.steps) != len(first.steps):
                longer = max(first.steps, tape.steps, key=len)
                step = longer[min(len(first.steps), len(tape.steps))]
                raise OnnxExporterError(f"onnx.export: the number of ops depends on the {what}, as in a loop over it: "
                                        f"'{step.op}' {step.where}. {advice}")

    def run(self, results):
        """Writes the nodes for these values; returns their names."""
        tape = self.tapes[0]
        todo = list(results)
        while todo:
            v = todo.pop()
            if v in self.needed or v < self.inputs or self.constant(v) is not None:
                continue
            self.needed.add(v)
            step = tape.maker[v]
            if step is not None:
                skip = _SHAPE_ONLY.get(step.op, ())
                todo += [i for at, i in enumerate(step.inputs) if i is not None and at not in skip]
        for i, step in enumerate(tape.steps):
            if any(v in self.needed for v in step.outputs):
                self._convert(Call(self, i))
        return [self.name(v) for v in results]

    def _convert(self, call):
        step, self.graph.path = call.step, call.step.path
        conversion = CONVERSIONS.get(step.op)
        if conversion is None:
            reason = None
            if step.op in RANDOM:
                reason = "it draws random numbers; model.eval() or training=False leaves dropout out"
            elif step.op in _DATA_SIZED:
                reason = "the size of its result depends on the data"
            raise UnsupportedOperatorError(step.op, step.where, reason)
        made = conversion(call)
        made = [made] if isinstance(made, str) else made
        for v, name in zip(step.outputs, made):
            if v is not None and v in self.needed:
                if name is None:
                    call.refuse(f"its result number {step.outputs.index(v)} has no counterpart in ONNX")
                self.names[v] = name

    def name(self, v):
        """The name of a value in the graph."""
        if v not in self.names:
            tensor = self.constant(v)
            self.names[v] = self._varying(v) if tensor is None else self.graph.initializer(self._label(v), tensor)
        return self.names[v]

    def _label(self, v):
        tape = self.tapes[0]
        return tape.parameters.get(_C._tensor_identity(tape.tensors[v])[0], "constant") if v in tape.contents else "constant"

    def constant(self, v):
        """The tensor of a value that is the same in all traces and depends on no input; None for others."""
        if v not in self._folded:
            self._folded[v] = self._fold(v)
        return self._folded[v]

    def _fold(self, v):
        if v < self.inputs:
            return None
        first = self.tapes[0]
        if v in first.contents:
            own = first.contents[v]
            others = [tape.contents.get(v) for tape in self.tapes[1:]]
            return own if all(t is own or t is not None and _same(own, t) for t in others) else None
        # From outside in: chains of views of weights are short, but chains of ops may be long, so no recursion.
        pending = [v]
        while pending:
            u = pending[-1]
            step = first.maker[u]
            skip = _SHAPE_ONLY.get(step.op, ())
            inputs = [i for at, i in enumerate(step.inputs) if i is not None and at not in skip]
            open_ = [i for i in inputs if i not in self._folded and i >= self.inputs]
            for i in list(open_):
                if i in first.contents:
                    self._folded[i] = self._fold(i)
                    open_.remove(i)
            if open_:
                pending += open_
                continue
            pending.pop()
            self._folded[u] = self._result(u, step, inputs)
        return self._folded[v]

    def _result(self, u, step, inputs):
        """The tensor of value u, made by a step, if all that the step read is constant."""
        if step.op in RANDOM or step.op.startswith("write_back_"):
            return None
        if any(i < self.inputs or self._folded[i] is None for i in inputs):
            return None
        at = self.index[id(step)]
        if any(tape.steps[at].attrs != step.attrs or tape.tensors[u].shape != self.tapes[0].tensors[u].shape
               for tape in self.tapes[1:]):
            return None
        return None if self.tapes[0].written(u) else self.tapes[0].tensors[u]

    def where_used(self, v):
        """The place of the first step that reads a value."""
        return next((step.where for step in self.tapes[0].steps if v in step.inputs), "as a result")

    def _varying(self, v):
        """The name of a tensor from outside that is another in each trace: a size, or one number in a moving shape."""
        tensors = [tape.contents.get(v) for tape in self.tapes]
        if any(t is None for t in tensors):
            raise OnnxExporterError("onnx.export: a value has no origin in the trace")
        first = tensors[0]
        shapes = [tuple(t.shape) for t in tensors]
        dtype = dtype_name(first.dtype)
        if all(t.numel() == 1 for t in tensors) and len(set(shapes)) == 1:
            expression = self.sizes.solve([t.item() for t in tensors])
            if expression is not None:
                return self.graph.cast(self.graph.op("Reshape", self.sizes.node(expression), self.graph.const(shapes[0])),
                                       dtype)
        flat = [t.flatten() for t in tensors]
        if all(t.numel() and bool((t == flat[0][0]).all()) for t in flat):
            size = self.sizes.vector(shapes, "a tensor that the model makes", False)
            return self.graph.op("Expand", self.graph.const(first.flatten()[0].item(), dtype), size)
        raise OnnxExporterError(
            f"onnx.export: the model makes a tensor of shape {shapes[0]} and dtype {dtype} whose values depend on the input "
            f"outside of the engine's ops (item(), tolist(), numpy() or tensor() of a size). It is used {self.where_used(v)}")


def _same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and _C._to_bytes(a) == _C._to_bytes(b)
