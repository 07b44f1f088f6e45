"""Errors of workers and samples: the original type, and where in the data set it happened."""

_MARK = "_data_loader_where"


def locate(error, where):
    """Notes on an exception where it happened ("reading sample 4"), once: the innermost place counts."""
    if not hasattr(error, _MARK):
        try:
            setattr(error, _MARK, where)
        except Exception:  # an exception type without attributes
            return
        if hasattr(error, "add_note"):  # Python 3.11
            error.add_note(f"DataLoader: while {where}")


def remake(cls, args, attributes):
    """An exception with these args and attributes. Its `__init__` may want others, so it is not called."""
    new = cls.__new__(cls, *args)
    if issubclass(cls, (UnicodeError, SyntaxError, ImportError)):  # whose fields only __init__ sets
        new.__init__(*args)
    elif not issubclass(cls, OSError):  # __new__ has set args; "filename" is not among them
        new.args = args
    new.__dict__.update(attributes)
    return new


def parts(error):
    """(type, args, attributes) of an exception, for remake()."""
    args = error.args
    if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
        args = (*args, error.filename, *(() if error.filename2 is None else (None, error.filename2)))
    return type(error), args, {name: value for name, value in error.__dict__.items() if name != "__notes__"}


def from_worker(error, worker):
    """The exception to raise for one that ended a batch in a worker: its type is kept, its text (or, where the type makes
    its own text, a note) names the sample and the worker, and its `__cause__` is the original.
    """
    where = f"(while {getattr(error, _MARK, 'starting')} in DataLoader worker {worker})"
    if isinstance(error, StopIteration):  # would end the loop silently
        new = RuntimeError(f"the data set raised StopIteration {where}")
    else:
        new = _remade(error, where)
    new.__cause__ = error
    return new


def _remade(error, suffix):
    """An exception of error's type whose text ends with suffix."""
    cls, args, attributes = parts(error)
    if isinstance(error, OSError) and len(args) >= 2:
        longer = (args[0], f"{args[1]} {suffix}", *args[2:])
    elif isinstance(error, UnicodeError) and len(args) == 5:
        longer = (*args[:4], f"{args[4]} {suffix}")
    else:
        text = args[0] if len(args) == 1 else error  # str() of a KeyError has quotes
        longer = (f"{text} {suffix}".lstrip(),)
    for try_args in (longer, args):
        try:
            new = remake(cls, try_args, attributes)
            if suffix in str(new):
                return new
            if try_args is args:
                if hasattr(new, "add_note"):  # Python 3.11
                    new.add_note(suffix)
                return new
        except Exception:  # a type that cannot be made like this
            continue
    return RuntimeError(f"{cls.__name__}: {error} {suffix}")
