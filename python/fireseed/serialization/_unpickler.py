"""Reads the pickles in PyTorch's files with a machine of its own: it knows data, tensors and a list of names, no code."""
import struct
from pickle import UnpicklingError

# Note [Reading pickles]
# ~~~~~~~~~~~~~~~~~~~~~~
# A pickle is a program for a stack machine, which Python's own machine runs whatever it says. This one has the same
# instructions, but a name in the file stands for what `_globals.py` says, or is an error; nothing is ever imported.
# Only `Call`s from there can be called. The other dangers of a hostile or damaged file are met too:
#   - memory: no instruction makes more than it read from the file. What copies (bytes from text, sets from lists)
#     is charged to a budget in proportion to the file, see `charge`; the memo is a dict, not a table by index;
#   - the C stack: keys of dicts and items of sets are checked to be flat before they are hashed;
#   - time: numbers written as text have Python's limit of 4300 digits.

_SHORT = 4096  # reads up to this size are not checked against what is left of the file
_MARK = object()


class Call:
    """A name that a pickle may call: function(machine, args) -> object. `value` is what it is when not called; `new`,
    where it differs, makes an object of a class without its __init__.
    """

    __slots__ = ("function", "name", "new", "value")

    def __init__(self, name, function, value=None, new=None):
        self.name, self.function, self.value = name, function, self if value is None else value
        self.new = new or function

    def __repr__(self):
        return f"<{self.name}, named in a file>"


def _flat(value, depth=8):
    """Whether a key can be hashed without going deep."""
    if isinstance(value, (tuple, frozenset)):
        return depth > 0 and all(_flat(item, depth - 1) for item in value)
    return not isinstance(value, (list, dict, set, bytearray))


class Machine:
    """Runs one pickle of a binary file.

    size: bytes the file has from its position on; find(module, name): the object for a name; persistent(value): the
    object for a persistent id (a storage); build(machine, object, state): gives an object its state.
    """

    def __init__(self, file, size, find, persistent, build, encoding="utf-8"):
        self.file, self.find, self.persistent, self.build_object = file, find, persistent, build
        self.encoding = encoding
        self.size = size
        self.budget = 16 * size + (1 << 20)
        self.memo, self.frames, self.stack = {}, [], []

    # ---- what the file gives ------------------------------------------------------------------------------------
    def read(self, n):
        """n bytes; ValueError where the file has fewer."""
        if n > _SHORT and n > self.size:
            raise ValueError("cut short")
        data = self.file.read(n)
        if len(data) != n:
            raise ValueError("cut short")
        return data

    def line(self):
        """The text up to the next end of line."""
        data = self.file.readline(1 << 16)
        if data[-1:] != b"\n":
            raise ValueError("cut short")
        return data[:-1]

    def charge(self, n):
        """Notes that n items are copied; ValueError where a file makes far more of itself than it is long."""
        self.budget -= n
        if self.budget < 0:
            raise ValueError("it unfolds to many times its size")

    def path(self):
        """The keys under which the machine is at work: "model.weight"."""
        parts, container = [], None
        for frame in (*self.frames, self.stack):
            if isinstance(container, dict) and frame:
                parts.append(frame[(len(frame) - 1) // 2 * 2])
            elif isinstance(container, list):
                parts.append(len(container) + len(frame) - (frame is not self.stack))
            for i, item in enumerate(frame[:-1]):
                if isinstance(item, dict) and isinstance(frame[i + 1], str):
                    parts.append(frame[i + 1])
                elif isinstance(item, list):
                    parts.append(len(item))
            container = frame[-1] if frame else None
        return ".".join(str(part) for part in parts if isinstance(part, (str, int))) or "the top"

    # ---- running ------------------------------------------------------------------------------------------------
    def run(self):
        """The object of the pickle."""
        steps = _STEPS
        read = self.file.read
        while True:
            code = read(1)
            if not code:
                raise ValueError("cut short")
            step = steps[code[0]]
            if step is None:
                if code == b".":
                    return self.plain(self.stack.pop())
                raise ValueError(f"unknown instruction {code!r}")
            step(self)

    @staticmethod
    def plain(value):
        """The object itself, for a name that was not called."""
        return value.value if type(value) is Call else value

    def mark(self):
        """The items since the last mark, which it takes away."""
        items = self.stack
        self.stack = self.frames.pop()
        return items

    def call(self, function, args, new=False):
        """The result of a Call (new: of its `new`); UnpicklingError for anything else."""
        if type(function) is not Call or function.function is None:
            name = function.name if type(function) is Call else type(function).__name__
            raise UnpicklingError(f"{self.path()}: the file would have to call {name}, which fireseed does not do")
        if type(args) is not tuple:
            raise ValueError("arguments that are no tuple")
        return (function.new if new else function.function)(self, *args)

    def put(self, target, key, value):
        """target[key] = value."""
        if not isinstance(target, dict) or not _flat(key):
            raise ValueError("an item for what is no dict, or a key that cannot be one")
        target[self.plain(key)] = self.plain(value)

    def extend(self, target, items):
        """Appends items to a list or adds them to a set."""
        if isinstance(target, list):
            target.extend(map(self.plain, items))
        elif isinstance(target, set):
            if not all(map(_flat, items)):
                raise ValueError("an item that a set cannot have")
            target.update(items)
        elif type(target).__name__ == "deque":
            target.extend(items)
        else:
            raise ValueError("items for what is no list")

    def text(self, data):
        """A str of Python 2."""
        if self.encoding == "bytes":
            return data
        try:
            return data.decode(self.encoding)
        except UnicodeDecodeError:
            return data.decode("latin1")


def _unpack(layout):
    form = struct.Struct("<" + layout)
    size, unpack = form.size, form.unpack
    return lambda m: unpack(m.read(size))[0]


_u1, _u2, _u4, _u8, _i4 = map(_unpack, ("B", "H", "I", "Q", "i"))
_d8 = struct.Struct(">d").unpack


def _utf8(data):
    return data.decode("utf-8", "surrogatepass")


def _signed(data):
    return int.from_bytes(data, "little", signed=True)


def _int_line(m):
    data = m.line()
    return data == b"01" if data in (b"00", b"01") else int(data)


def _length(n):
    if n < 0:
        raise ValueError("a negative length")
    return n


def _quoted(m):
    data = m.line()
    if len(data) < 2 or data[:1] != data[-1:] or data[:1] not in b"\"'":
        raise ValueError("a string without quotes")
    import codecs
    return m.text(codecs.escape_decode(data[1:-1])[0])


def _tuple(n):
    def step(m):
        s = m.stack
        if len(s) < n:
            raise ValueError("the stack is empty")
        s[-n:] = [tuple(map(m.plain, s[-n:]))]
    return step


def _pairs(items):
    if len(items) % 2:
        raise ValueError("a key without a value")
    return zip(items[::2], items[1::2])


def _dict(m):
    made = {}
    for key, value in _pairs(m.mark()):
        m.put(made, key, value)
    m.stack.append(made)


def _setitem(m):
    s = m.stack
    value, key = s.pop(), s.pop()
    m.put(s[-1], key, value)


def _setitems(m):
    items = m.mark()
    target = m.stack[-1]
    for key, value in _pairs(items):
        m.put(target, key, value)


def _append(m):
    value = m.stack.pop()
    m.extend(m.stack[-1], (value,))


def _extend(m):
    items = m.mark()
    m.extend(m.stack[-1], items)


def _frozenset(m):
    items = set()
    m.extend(items, m.mark())
    m.stack.append(frozenset(items))


def _pop(m):
    if m.stack:
        m.stack.pop()
    else:
        m.mark()


def _start(m):
    m.frames.append(m.stack)
    m.stack = []


def _memoize(index):
    def step(m):
        m.memo[index(m)] = m.stack[-1]
    return step


def _recall(index):
    def step(m):
        m.stack.append(m.memo[index(m)])
    return step


def _global(m):
    module, name = m.line().decode(), m.line().decode()
    m.stack.append(m.find(m, module, name))


def _stack_global(m):
    name, module = m.stack.pop(), m.stack.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("a name that is no text")
    m.stack.append(m.find(m, module, name))


def _reduce(m):
    args, function = m.stack.pop(), m.stack.pop()
    m.stack.append(m.call(function, args))


def _newobj(m):
    args, kind = m.stack.pop(), m.stack.pop()
    m.stack.append(m.call(kind, args, new=True))


def _newobj_ex(m):
    kwargs, args, kind = m.stack.pop(), m.stack.pop(), m.stack.pop()
    if kwargs:
        raise ValueError("keyword arguments")
    m.stack.append(m.call(kind, args, new=True))


def _build(m):
    state = m.stack.pop()
    m.build_object(m, m.stack[-1], state)


def _persistent(m):
    m.stack.append(m.persistent(m, m.stack.pop()))


def _protocol(m):
    if _u1(m) > 5:
        raise ValueError("a pickle protocol above 5")


def _push(make):
    def step(m):
        value = make(m)  # which may change m.stack
        m.stack.append(value)
    return step


_INDEX_LINE, _INDEX1, _INDEX4 = (lambda m: int(m.line())), _u1, _u4
_STEPS = [None] * 256
for _code, _step in {
    b"\x80": _protocol, b"\x95": _u8, b"(": _start, b"0": _pop, b"1": lambda m: m.mark(),
    b"2": lambda m: m.stack.append(m.stack[-1]),
    b"N": _push(lambda m: None), b"\x88": _push(lambda m: True), b"\x89": _push(lambda m: False),
    b"J": _push(_i4), b"K": _push(_u1), b"M": _push(_u2), b"I": _push(_int_line),
    b"L": _push(lambda m: int(m.line().rstrip(b"L"))), b"\x8a": _push(lambda m: _signed(m.read(_u1(m)))),
    b"\x8b": _push(lambda m: _signed(m.read(_length(_i4(m))))),
    b"F": _push(lambda m: float(m.line())), b"G": _push(lambda m: _d8(m.read(8))[0]),
    b"X": _push(lambda m: _utf8(m.read(_u4(m)))), b"\x8c": _push(lambda m: _utf8(m.read(_u1(m)))),
    b"\x8d": _push(lambda m: _utf8(m.read(_u8(m)))), b"V": _push(lambda m: m.line().decode("raw-unicode-escape")),
    b"S": _push(_quoted), b"T": _push(lambda m: m.text(m.read(_length(_i4(m))))),
    b"U": _push(lambda m: m.text(m.read(_u1(m)))),
    b"B": _push(lambda m: m.read(_u4(m))), b"C": _push(lambda m: m.read(_u1(m))),
    b"\x8e": _push(lambda m: m.read(_u8(m))), b"\x96": _push(lambda m: bytearray(m.read(_u8(m)))),
    b"]": _push(lambda m: []), b"}": _push(lambda m: {}), b")": _push(lambda m: ()), b"\x8f": _push(lambda m: set()),
    b"l": _push(lambda m: list(map(m.plain, m.mark()))), b"t": _push(lambda m: tuple(map(m.plain, m.mark()))),
    b"d": _dict, b"\x85": _tuple(1), b"\x86": _tuple(2), b"\x87": _tuple(3), b"\x91": _frozenset,
    b"a": _append, b"e": _extend, b"\x90": _extend, b"s": _setitem, b"u": _setitems,
    b"q": _memoize(_INDEX1), b"r": _memoize(_INDEX4), b"p": _memoize(_INDEX_LINE),
    b"\x94": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    b"h": _recall(_INDEX1), b"j": _recall(_INDEX4), b"g": _recall(_INDEX_LINE),
    b"c": _global, b"\x93": _stack_global, b"R": _reduce, b"\x81": _newobj, b"\x92": _newobj_ex, b"b": _build,
    b"Q": _persistent,
}.items():
    _STEPS[_code[0]] = _step
