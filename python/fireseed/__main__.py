"""The command `fireseed`, also `python -m fireseed`: check and run."""
import sys

_USAGE = """\
usage: fireseed check script.py [...]    what of each script's use of torch is supported, line by line
       fireseed run script.py [args ...] runs a PyTorch script unchanged, with fireseed as its torch
       fireseed --version

`fireseed check --help` and `fireseed run --help` say more.
"""


def main(argv=None):
    """Runs the command; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["check"]:
        from .check import main as check
        return check(argv[1:])
    if argv[:1] == ["run"]:
        from .run import main as run
        return run(argv[1:])
    if argv[:1] == ["--version"]:
        from . import __version__
        print(f"fireseed {__version__}")
        return 0
    asked = argv[:1] in (["-h"], ["--help"])
    if argv and not asked:
        print(f"fireseed: unknown command {argv[0]!r}", file=sys.stderr)
    print(_USAGE, end="", file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main())
