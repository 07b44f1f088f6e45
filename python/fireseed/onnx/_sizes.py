"""Sizes that follow the dynamic axes: what a number is, seen in several traces, and how the graph computes it."""
import math

from .errors import OnnxExporterError


class Symbol:
    """A dynamic axis, or several of one name: its size in the first trace, and where the graph reads it."""

    def __init__(self, name, places, size):
        self.name = name
        self.places = places  # [(number of the input, axis)]
        self.size = size


class Expression:
    """factor * (product of symbols) + offset, exact in every trace."""

    def __init__(self, factor, symbols=(), offset=0):
        self.factor, self.symbols, self.offset = factor, tuple(symbols), offset

    @property
    def constant(self):
        """Whether it depends on no symbol."""
        return not self.symbols

    @property
    def value(self):
        return self.factor + self.offset


class Sizes:
    """The symbols and their sizes in each trace: sizes[t][k] is that of symbols[k] in trace t."""

    def __init__(self, symbols, sizes, graph, input_names):
        self.symbols, self.sizes, self.graph, self.input_names = symbols, sizes, graph, input_names
        self._known = {}

    def solve(self, values):
        """The Expression that gives these whole numbers, one a trace; None if no simple one does."""
        if any(v != int(v) for v in values):
            return None
        values = [int(v) for v in values]
        if len(set(values)) == 1:
            return Expression(values[0])
        # A symbol is in it if the number differs from the first trace's where only that symbol does.
        used = [k for k in range(len(self.symbols)) if any(
            v != values[0] and all((s == b) == (j != k) for j, (s, b) in enumerate(zip(sizes, self.sizes[0])))
            for v, sizes in zip(values, self.sizes))]
        if not used:
            return None
        products = [math.prod(sizes[k] for k in used) for sizes in self.sizes]
        if values[0] % products[0] == 0:
            factor = values[0] // products[0]
            if all(v == factor * p for v, p in zip(values, products)):
                return Expression(factor, [self.symbols[k] for k in used])
        for v, p in zip(values, products):
            if p != products[0] and (v - values[0]) % (p - products[0]) == 0:
                factor = (v - values[0]) // (p - products[0])
                offset = values[0] - factor * products[0]
                if all(v == factor * p + offset for v, p in zip(values, products)):
                    return Expression(factor, [self.symbols[k] for k in used], offset)
        return None

    def node(self, expression):
        """The name of an int64 tensor (1) with the expression's value."""
        g = self.graph
        if expression.constant:
            return g.const((expression.value,))
        key = (expression.factor, tuple(s.name for s in expression.symbols), expression.offset)
        if key not in self._known:
            out = None
            for symbol in expression.symbols:
                number, axis = symbol.places[0]
                place = ("size", number, axis)
                if place not in self._known:
                    self._known[place] = g.op("Shape", self.input_names[number], start=axis, end=axis + 1)
                out = self._known[place] if out is None else g.op("Mul", out, self._known[place])
            if expression.factor != 1:
                out = g.op("Mul", out, g.const((expression.factor,)))
            if expression.offset:
                out = g.op("Add", out, g.const((expression.offset,)))
            self._known[key] = out
        return self._known[key]

    def vector(self, shapes, what, infer=False):
        """The name of an int64 tensor with the sizes of shapes, one a trace; infer: -1 may stand for one unknown."""
        found = [self.solve(values) for values in zip(*shapes)]
        unknown = [i for i, e in enumerate(found) if e is None]
        moving = [i for i, e in enumerate(found) if e is not None and not e.constant]
        whole = all(e is None or not e.constant or e.value > 0 for e in found)
        if infer and whole and len(unknown) <= 1 and (unknown or moving):
            found[(unknown or moving[:1])[0]] = Expression(-1)
        elif unknown:
            raise OnnxExporterError(f"onnx.export: {what}: its size {tuple(shapes[0])} depends on the dynamic axes in a "
                                    f"way that has no formula here (axis {unknown[0]} was "
                                    f"{', '.join(str(s[unknown[0]]) for s in shapes)} in different runs)")
        if all(e.constant for e in found):
            return self.graph.const(tuple(e.value for e in found))
        return self.graph.op("Concat", *(self.node(e) for e in found), axis=0)
