"""Reads pickles of plain data (numbers, text, lists, dictionaries, numpy arrays) without running anything in them."""
import pickletools

from ._files import DamagedFile


class _Array:
    """A numpy array on its way: its bytes are checked against its shape when the pickle has been read."""

    state = None


class _DType:
    code = None


class _Mark:
    pass


_MARK = _Mark()
_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE = "reconstruct", "ndarray", "dtype", "encode"
# All the globals there may be; they name stand-ins, nothing is imported.
_GLOBALS = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT, ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): _NDARRAY, ("numpy", "dtype"): _DTYPE, ("_codecs", "encode"): _ENCODE}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    "BINSTRING", "SHORT_BINSTRING", "STRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT", "FLOAT"}


class _Global:
    """A name from _GLOBALS on the stack."""

    def __init__(self, kind):
        self.kind = kind


class _Machine:
    """The stack, the memo and the opcodes that plain data needs; any other opcode is an error."""

    def __init__(self):
        self.stack, self.memo = [], {}

    def since_mark(self):
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        items = self.stack[at + 1:]
        del self.stack[at:]
        return items

    def set_items(self, items):
        into = self.stack[-1]
        if type(into) is not dict or len(items) % 2:
            raise ValueError("items for what is no dictionary")
        for key, value in zip(items[::2], items[1::2]):
            if not isinstance(key, (str, bytes, int, float)):  # tuples of any depth could overflow the C stack in hash()
                raise ValueError(f"a key of {type(key).__name__}")
            into[key] = value

    def extend(self, items):
        if type(self.stack[-1]) is not list:
            raise ValueError("elements for what is no list")
        self.stack[-1].extend(items)

    def push_global(self, module, name):
        kind = _GLOBALS.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if kind is None:
            raise ValueError(f"the global {module}.{name}, which plain data does not need (it could run code)")
        self.stack.append(_Global(kind))

    def reduce(self):
        args, function = self.stack.pop(), self.stack.pop()
        kind = function.kind if isinstance(function, _Global) else None
        if type(args) is not tuple or kind not in (_RECONSTRUCT, _DTYPE, _ENCODE):
            raise ValueError("a call that plain data does not need")
        if kind == _RECONSTRUCT:
            out = _Array()
        elif kind == _DTYPE:
            out = _DType()
            out.code = args[0]
        else:
            text, encoding = args
            if encoding != "latin1" or type(text) is not str:
                raise ValueError("an encoding other than latin1")
            out = text.encode("latin1")
        self.stack.append(out)

    def build(self):
        state, what = self.stack.pop(), self.stack[-1]
        if isinstance(what, _Array) and type(state) is tuple and len(state) == 5:
            what.state = state
        elif not isinstance(what, _DType):  # a dtype's state is its byte order, of no interest for bytes
            raise ValueError("a state for what has none")

    def step(self, name, arg):
        """One opcode; True at the end."""
        stack = self.stack
        if name in _LITERALS:
            stack.append(arg)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "APPEND":
            item = stack.pop()
            self.extend([item])
        elif name == "APPENDS":
            self.extend(self.since_mark())
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self.set_items([key, value])
        elif name == "SETITEMS":
            self.set_items(self.since_mark())
        elif name in ("EMPTY_LIST", "LIST"):
            stack.append(self.since_mark() if name == "LIST" else [])
        elif name in ("EMPTY_DICT", "DICT"):
            items = self.since_mark() if name == "DICT" else []
            stack.append({})
            self.set_items(items)
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            if len(stack) < n:
                raise ValueError("an empty stack")
            items = tuple(stack[-n:])
            del stack[-n:]
            stack.append(items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[arg] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[arg])
        elif name == "GLOBAL":
            self.push_global(*arg.split(" ", 1))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            self.push_global(module, attribute)
        elif name == "REDUCE":
            self.reduce()
        elif name == "BUILD":
            self.build()
        elif name == "STOP":
            return True
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"the opcode {name}, which plain data does not need")
        return False


def _text(x):
    return x.decode("latin1") if isinstance(x, bytes) else x


def load_plain(data, path):
    """The dictionary in a pickle, keys as text; numpy arrays of uint8 come as (shape, bytes).

    Only data is read: what would import or call anything is a DamagedFile (a ValueError), like all else unexpected.
    """
    machine = _Machine()
    try:
        for opcode, arg, _ in pickletools.genops(bytes(data)):
            if machine.step(opcode.name, arg):
                break
        value = machine.stack.pop()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, EOFError) as error:
        text = f"key {error} missing" if isinstance(error, KeyError) else str(error)
        raise DamagedFile(path, "a pickle of plain data", text[:200]) from error
    if type(value) is not dict:
        raise DamagedFile(path, "a pickled dictionary", type(value).__name__)
    return {_text(key): (_uint8(item, path) if isinstance(item, _Array) else item) for key, item in value.items()}


def _uint8(array, path):
    """(shape, bytes) of a pickled uint8 array."""
    _, shape, dtype, fortran, raw = array.state or (1, (), None, False, b"")
    code = _text(dtype.code) if isinstance(dtype, _DType) else None
    raw = raw.encode("latin1", "replace") if isinstance(raw, str) else raw
    whole = isinstance(raw, bytes) and type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
    count = 1
    for n in shape if whole else ():
        count = min(count * n, 1 << 60)
    if code not in ("u1", "|u1") or fortran or not whole or count != len(raw):
        raise DamagedFile(path, "a uint8 array in rows, with as many bytes as its shape says",
                          f"dtype {code}, " + (f"shape {str(shape)[:80]}, {len(raw)} bytes" if whole else "no plain shape"))
    return shape, raw
