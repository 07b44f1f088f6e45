"""`python -m fireseed.run script.py [args]` runs an unmodified PyTorch script with fireseed as its torch."""
import builtins
import os
import sys
import types

_USAGE = """\
usage: python -m fireseed.run script.py [args ...]
       python -m fireseed.run -m module [args ...]

Runs a PyTorch script unchanged: `torch` and its submodules are fireseed, also in the processes it starts.
`fireseed check script.py` says beforehand, line by line, what of the script is supported.
"""


def _shim():
    """The folder that makes `import torch` give fireseed in child processes."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "_shim")


def _prepare(folder):
    """sys.path as python sets it, with the shim behind it; the environment for child processes."""
    import fireseed

    fireseed.as_torch()
    shim = _shim()
    if not getattr(sys.flags, "safe_path", False) and sys.path:
        del sys.path[0]
    sys.path[0:0] = [folder, shim]
    inherited = os.environ.get("PYTHONPATH", "")
    if shim not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = shim + (os.pathsep + inherited if inherited else "")


def _strip(traceback):
    """traceback from where the script begins: without the frames of the command and of this file."""
    here, begin = traceback, traceback
    while here is not None:
        if here.tb_frame.f_code.co_filename == __file__:
            begin = here.tb_next
        here = here.tb_next
    return begin


def _explain(error):
    """`from torch.nn.functional import x` for a missing x: the text says what the table of reasons says."""
    import re

    from ._torch_support import missing
    found = re.match(r"cannot import name '(\w+)' from 'fireseed", str(error))
    if isinstance(error, ImportError) and found and error.name:
        name = "torch" + error.name[len("fireseed"):] + "." + found[1]
        error.args = (missing(name),)
        error.msg = error.args[0]


def _excepthook(kind, error, traceback):
    _explain(error)
    traceback = _strip(traceback)
    sys.__excepthook__(kind, error.with_traceback(traceback), traceback)


def _run(code, **attributes):
    """Executes code as the module __main__."""
    main = types.ModuleType("__main__")
    main.__dict__.update(attributes, __builtins__=builtins)
    sys.modules["__main__"] = main
    sys.excepthook = _excepthook
    exec(code, main.__dict__)


def run_script(path, args=()):
    """Runs the script at path as __main__ of this process, with sys.argv = [path, *args]."""
    from importlib.machinery import SourceFileLoader

    full = os.path.abspath(path)
    try:
        with open(full, "rb") as file:
            source = file.read()
    except OSError as error:
        print(f"fireseed.run: can't open file {full!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        return 2
    sys.argv = [path, *args]
    _prepare(os.path.dirname(os.path.realpath(full)))
    sys.excepthook = _excepthook  # for a SyntaxError of the script
    _run(compile(source, full, "exec", dont_inherit=True), __file__=full, __spec__=None, __package__=None,
         __cached__=None, __loader__=SourceFileLoader("__main__", full))
    return 0


def run_module(name, args=()):
    """Runs a module or a package's __main__ as python -m does."""
    from importlib.util import find_spec

    _prepare(os.getcwd())
    try:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(name + ".__main__")
        code = spec and spec.loader.get_code(spec.name)
    except ImportError as error:
        print(f"fireseed.run: Error while finding module specification for {name!r} ({type(error).__name__}: {error})",
              file=sys.stderr)
        return 1
    if not code:
        print(f"fireseed.run: No module named {name}", file=sys.stderr)
        return 1
    sys.argv = [spec.origin, *args]
    _run(code, __file__=spec.origin, __spec__=spec, __package__=spec.parent, __cached__=spec.cached,
         __loader__=spec.loader)
    return 0


def main(argv=None):
    """The command; returns the exit status where the script does not raise."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help") or argv == ["-m"]:
        print(_USAGE, end="", file=sys.stdout if argv[:1] in (["-h"], ["--help"]) else sys.stderr)
        return 0 if argv[:1] in (["-h"], ["--help"]) else 2
    if argv[0] == "-m":
        return run_module(argv[1], argv[2:])
    if argv[0].startswith("-"):
        print(f"fireseed.run: unknown option {argv[0]}\n{_USAGE}", end="", file=sys.stderr)
        return 2
    return run_script(argv[0], argv[1:])


if __name__ == "__main__":
    from fireseed.run import main as _main  # this module stays importable once the script is __main__

    sys.exit(_main())
