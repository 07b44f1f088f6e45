"""The graph in the making: names, nodes, initializers."""
from .. import _C
from . import _proto


def dtype_name(dtype):
    """"float32" of a fireseed dtype."""
    return str(dtype).split(".")[-1]


class Graph:
    """Nodes and initializers; every method that adds a node returns the names of what it makes."""

    def __init__(self):
        self.nodes, self.initializers = [], []
        self.path = ""  # of the module whose op is being written: leads the names
        self._taken, self._count, self._constants = set(), {}, {}

    def fresh(self, name):
        """`name`, or name_1, name_2, … where it is taken."""
        out = name
        while out in self._taken:
            self._count[name] = i = self._count.get(name, 0) + 1
            out = f"{name}_{i}"
        self._taken.add(out)
        return out

    def op(self, kind, *inputs, outputs=1, **attributes):
        """Adds a node; None among the inputs is an absent one. Returns one name, or a list where outputs > 1."""
        inputs = ["" if i is None else i for i in inputs]
        while inputs and inputs[-1] == "":
            inputs.pop()
        name = self.fresh(f"/{self.path.replace('.', '/')}/{kind}" if self.path else f"/{kind}")
        names = [self.fresh(f"{name}_output_{i}") for i in range(outputs)]
        self.nodes.append(_proto.node(kind, inputs, names, name, attributes))
        return names[0] if outputs == 1 else names

    def initializer(self, name, tensor):
        """A tensor that is part of the file, under this name or one like it."""
        name = self.fresh(name)
        tensor = tensor.detach()
        self.initializers.append(
            _proto.tensor(name, dtype_name(tensor.dtype), tuple(tensor.shape), _C._to_bytes(tensor)))
        return name

    def const(self, value, dtype="int64"):
        """An initializer of a number or a list of numbers; equal ones are shared."""
        key = (tuple(value) if isinstance(value, (list, tuple)) else repr(value), dtype)
        if key not in self._constants:
            t = _C.tensor(list(value) if isinstance(value, tuple) else value, dtype=getattr(_C, dtype))
            self._constants[key] = self.initializer("constant", t)
        return self._constants[key]

    def cast(self, name, dtype):
        """Another dtype."""
        return self.op("Cast", name, to=_proto.DTYPES[dtype])
