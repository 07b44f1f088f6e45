"""export: runs the model under a recorder, with several sizes of the dynamic axes, and writes what it did as ONNX."""
import enum
import inspect
import os

from .. import _C
from ..nn import Module
from ..version import __version__
from . import _proto
from ._exporter import Exporter
from ._graph import Graph, dtype_name
from ._sizes import Symbol
from ._trace import trace
from .errors import OnnxExporterError

_exporting = False


class TrainingMode(enum.Enum):
    """Whether modules are switched to eval() during the export (EVAL), left as they are (PRESERVE), or train (TRAINING)."""

    EVAL = 0
    PRESERVE = 1
    TRAINING = 2


def is_in_onnx_export():
    """Whether an export is running: for models that compute something else then."""
    return _exporting


def export(model, args=(), f=None, *, kwargs=None, input_names=None, output_names=None, opset_version=18,
           dynamic_axes=None, training=TrainingMode.EVAL, export_params=True, verbose=False, check_values=True, **others):
    """Writes `model`, called with `args`, as an ONNX file; returns the file's bytes.

    model: a Module or function of tensors. args: its argument, or a tuple of them (tensors, or nests of tuples, lists
    and dicts of tensors; numbers and None stay as they are); a dict at the end of the tuple, or kwargs, are keyword
    arguments. f: a path, a file open for bytes, or None. input_names, output_names: of the tensors, in order.
    dynamic_axes: {name: [axes]} or {name: {axis: label}}: axes that may have any size later; axes with one label are
    of one size, and so are unlabelled ones that cannot differ. opset_version: 18 to 23.

    The model is run under a recorder that sees every op, in modules or not, so Python's decisions and numbers become
    fixed; with dynamic axes it is run for several sizes, and what differs becomes a formula of the sizes. check_values:
    it is run with other numbers in its floating inputs, too, and refused if it then takes other ways or makes other
    constants (item(), numpy(), an `if` on the data). What cannot be written raises OnnxExporterError,
    UnsupportedOperatorError (naming op, module and line) for an op.
    """
    global _exporting
    if opset_version is None:
        opset_version = 18
    if opset_version not in _proto.IR_VERSIONS:
        raise ValueError(f"onnx.export: opset_version must be from {min(_proto.IR_VERSIONS)} to {max(_proto.IR_VERSIONS)}, got "
                         f"{opset_version}")
    if not export_params:
        raise NotImplementedError("onnx.export: export_params=False is not supported: the file holds the parameters")
    if others.get("dynamic_shapes"):
        raise NotImplementedError("onnx.export: dynamic_shapes is not supported; pass dynamic_axes")
    args = args if isinstance(args, tuple) else (args,)
    kwargs = dict(kwargs or {})
    if args and isinstance(args[-1], dict) and not kwargs and len(args) > 1:
        args, kwargs = args[:-1], dict(args[-1])
    leaves = list(_tensors((args, kwargs)))
    if not leaves:
        raise ValueError("onnx.export: args has no tensor; it must be the example input, or a tuple of them")
    names = _input_names(model, args, kwargs, leaves, input_names)
    flags = _set_mode(model, training)
    was, _exporting = _exporting, True
    try:
        symbols, traces, sizes, outputs = _traces(model, args, kwargs, leaves, names, dynamic_axes or {}, output_names,
                                                  check_values)
        data = _write(traces, symbols, sizes, names, outputs, opset_version, dynamic_axes or {}, type(model).__name__)
    finally:
        _exporting = was
        for module, flag in flags:
            module.training = flag
    if verbose:
        print(f"onnx.export: {len(traces[0][0].steps)} ops in {len(traces)} traces, {len(data)} bytes")
    if hasattr(f, "write"):
        f.write(data)
    elif f is not None:
        with open(os.fspath(f), "wb") as file:
            file.write(data)
    return data


def _tensors(nest):
    """The tensors in a nest of tuples, lists and dictionaries, in order."""
    if isinstance(nest, _C.Tensor):
        yield nest
    elif isinstance(nest, (tuple, list)):
        for part in nest:
            yield from _tensors(part)
    elif isinstance(nest, dict):
        for part in nest.values():
            yield from _tensors(part)


def _replaced(nest, tensors):
    """The nest with its tensors replaced by those of an iterator."""
    if isinstance(nest, _C.Tensor):
        return next(tensors)
    if isinstance(nest, (tuple, list)):
        parts = [_replaced(part, tensors) for part in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    if isinstance(nest, dict):
        return {key: _replaced(part, tensors) for key, part in nest.items()}
    return nest


def _set_mode(model, training):
    """Switches the modules' mode; returns what to restore."""
    if not isinstance(model, Module) or training in (TrainingMode.PRESERVE, None):
        return []
    before = [(module, module.training) for module in model.modules()]
    model.train(training in (TrainingMode.TRAINING, True))
    return before


def _input_names(model, args, kwargs, leaves, given):
    if given is not None:
        if len(given) > len(leaves) or len(set(given)) < len(given):
            raise ValueError(f"onnx.export: input_names {list(given)} must be different names, at most one for each of the "
                             f"{len(leaves)} tensors in args")
        return [*given, *(f"input_{i}" for i in range(len(given), len(leaves)))]
    try:
        parameters = list(inspect.signature(model.forward if isinstance(model, Module) else model).parameters)
    except (TypeError, ValueError):
        parameters = []
    names = []
    for i, value in enumerate(args):
        name = parameters[i] if i < len(parameters) and parameters[i] not in ("args", "kwargs") else f"input_{i}"
        count = sum(1 for _ in _tensors(value))
        names += [name] if count == 1 else [f"{name}_{j}" for j in range(count)]
    for name, value in kwargs.items():
        count = sum(1 for _ in _tensors(value))
        names += [name] if count == 1 else [f"{name}_{j}" for j in range(count)]
    return names


def _symbols(leaves, names, dynamic_axes, output_names):
    """The Symbols of the inputs' dynamic axes."""
    found = {}
    for name, axes in dynamic_axes.items():
        labels = axes.items() if isinstance(axes, dict) else ((axis, None) for axis in axes)
        if name not in names:
            if output_names is None or name not in output_names:
                raise ValueError(f"onnx.export: dynamic_axes names {name!r}, which is neither an input ({', '.join(names)}) "
                                 f"nor an output ({', '.join(output_names or ())})")
            continue
        number = names.index(name)
        for axis, label in labels:
            rank = leaves[number].dim()
            if not -rank <= axis < rank:
                raise ValueError(f"onnx.export: dynamic_axes: {name!r} has {rank} axes, got axis {axis}")
            axis %= rank
            size = leaves[number].shape[axis]
            symbol = found.setdefault(label or f"{name}_dynamic_axes_{axis}", Symbol(label or f"{name}_dynamic_axes_{axis}",
                                                                                    [], size))
            if symbol.size != size:
                raise ValueError(f"onnx.export: dynamic_axes calls axes of the sizes {symbol.size} and {size} {label!r}; axes "
                                 "of one name must have one size")
            symbol.places.append((number, axis))
    return list(found.values())


def _resized(leaves, symbols, sizes):
    """The example tensors with other sizes of the dynamic axes: rows again and again."""
    out = list(leaves)
    for symbol, size in zip(symbols, sizes):
        for number, axis in symbol.places:
            n = out[number].shape[axis]
            if n == 0:
                raise ValueError(f"onnx.export: the example input has size 0 in the dynamic axis {symbol.name!r}")
            if n != size:
                out[number] = out[number].index_select(axis, _C.arange(size) % n)
    return out


def _run(model, args, kwargs, leaves, symbols, sizes, factor=1):
    """(tape, result) for some sizes; factor: of the floating inputs."""
    # Copies, so that models may write into their inputs, and two arguments that are one tensor are two inputs.
    tensors = [t.detach().clone() for t in _resized(leaves, symbols, sizes)]
    if factor != 1:
        tensors = [t * factor if t.is_floating_point() else t for t in tensors]
    new_args, new_kwargs = _replaced((args, kwargs), iter(tensors))
    tape, result = trace(model, new_args, new_kwargs, tensors)
    return tape, result


def _traces(model, args, kwargs, leaves, names, dynamic_axes, output_names, check_values):
    """(symbols, [(tape, result values)], sizes of the symbols in each trace, output names)."""
    symbols = _symbols(leaves, names, dynamic_axes, output_names)
    # Sizes of 1 would hide what is broadcast, so the first trace has 2 there.
    base = [max(symbol.size, 2) for symbol in symbols]
    runs, sizes, k = [_run(model, args, kwargs, leaves, symbols, base)], [base], 0
    while k < len(symbols):
        made, error = _longer(model, args, kwargs, leaves, symbols, base, k)
        if made is None:
            # Perhaps axes that must agree, without a common label: one symbol for all of this size, from the start.
            alike = [s for s, n in zip(symbols, base) if n == base[k]]
            if len(alike) == 1:
                raise OnnxExporterError(f"onnx.export: the model does not run with another size of the dynamic axis "
                                        f"{symbols[k].name!r} (example: {base[k]}): {error}") from error
            alike[0].places = [place for s in alike for place in s.places]
            symbols = [s for s in symbols if s is alike[0] or s not in alike]
            base = [max(symbol.size, 2) for symbol in symbols]
            del runs[1:], sizes[1:]
            sizes[0], k = base, 0
            continue
        runs += [run for run, _ in made]
        sizes += [size for _, size in made]
        k += 1
    if check_values and any(t.is_floating_point() for t in leaves):
        try:
            runs.append(_run(model, args, kwargs, leaves, symbols, base, 0.875))
            sizes.append(base)
        except OnnxExporterError:
            raise
        except Exception:  # the model does not like these numbers: nothing can be said
            pass
    return symbols, *_checked(runs, sizes, output_names)


def _longer(model, args, kwargs, leaves, symbols, base, k):
    """([(run, sizes)] of two runs with symbol k longer than in `base`, None), or (None, what the model raised)."""
    failed = None
    for steps in ((1, 3), (base[k], 2 * base[k])):
        made = []
        try:
            for more in steps:
                size = [n + more * (j == k) for j, n in enumerate(base)]
                made.append((_run(model, args, kwargs, leaves, symbols, size), size))
            return made, None
        except OnnxExporterError:
            raise
        except Exception as error:
            failed = error
    return None, failed


def _checked(runs, sizes, output_names):
    """(traces, sizes, output names) with the results as values."""
    traces, names = [], None
    for tape, result in runs:
        tensors, labels = [], []
        for label, part in _outputs(result):
            if not isinstance(part, _C.Tensor):
                raise OnnxExporterError(f"onnx.export: the model returned {type(part).__name__} ({label or 'its result'}); "
                                        "an exported model returns tensors, or tuples, lists and dicts of them")
            tensors.append(part)
            labels.append(label)
        if not tensors:
            raise OnnxExporterError("onnx.export: the model returned no tensor")
        traces.append((tape, [tape.value(t) for t in tensors]))
        names = labels if names is None else names
    given = list(output_names or ())
    if len(given) > len(names) or len(set(given)) < len(given):
        raise ValueError(f"onnx.export: output_names {given} must be different names, at most one for each of the "
                         f"{len(names)} tensors that the model returns")
    single = len(names) == 1
    return traces, sizes, given + [label or ("output" if single else f"output_{i}")
                                   for i, label in list(enumerate(names))[len(given):]]


def _outputs(nest, label=""):
    """(label, part) of a result: dictionaries' keys are labels; None is left out."""
    if isinstance(nest, dict):
        for key, part in nest.items():
            yield from _outputs(part, str(key))
    elif isinstance(nest, (tuple, list)):
        for part in nest:
            yield from _outputs(part)
    elif nest is not None:
        yield label, nest


def _write(traces, symbols, sizes, input_names, output_names, opset, dynamic_axes, title):
    tapes = [tape for tape, _ in traces]
    graph = Graph()
    names = [graph.fresh(name) for name in input_names]
    exporter = Exporter(tapes, symbols, sizes, graph, names)
    exporter.opset = opset
    exporter.check_alike()
    if any(values != traces[0][1] for _, values in traces[1:]):
        raise OnnxExporterError("onnx.export: which results the model returns depends on the sizes or values of its inputs")
    made = exporter.run(traces[0][1])
    graph.path = ""
    inputs = []
    for number, name in enumerate(names):
        t = tapes[0].tensors[number]
        shape = [next((s.name for s in symbols if (number, axis) in s.places), n) for axis, n in enumerate(t.shape)]
        inputs.append(_proto.value_info(name, dtype_name(t.dtype), shape))
    outputs = []
    for v, label, name in zip(traces[0][1], output_names, made):
        final = graph.fresh(label)
        graph.nodes.append(_proto.node("Identity", [name], [final], graph.fresh("/result"), {}))
        shapes = [tuple(tape.tensors[v].shape) for tape in tapes]
        labels = dynamic_axes.get(label, {})
        labels = labels if isinstance(labels, dict) else {}
        shape = [_dim(exporter.sizes, n, labels.get(axis) or labels.get(axis - len(shapes[0])) or f"{final}_dim_{axis}")
                 for axis, n in enumerate(zip(*shapes))]
        outputs.append(_proto.value_info(final, dtype_name(tapes[0].tensors[v].dtype), shape))
    data = _proto.model(graph.nodes, graph.initializers, inputs, outputs, title, opset, __version__)
    if len(data) >= 2**31:
        raise OnnxExporterError(f"onnx.export: the model has {len(data)} bytes; a file of ONNX holds less than 2 GiB")
    return data


def _dim(sizes, values, label):
    """A size for the file: a number, the name of a dynamic axis, or a label."""
    expression = sizes.solve(values)
    if expression is not None and expression.constant:
        return expression.value
    if expression is not None and (expression.factor, len(expression.symbols), expression.offset) == (1, 1, 0):
        return expression.symbols[0].name
    return label
