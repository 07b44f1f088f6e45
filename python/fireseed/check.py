"""`fireseed check script.py`: each use of torch in a script, line by line: supported, partial or missing.

The script is read, never run, and PyTorch is not needed: names are followed through imports and plain assignments, and
looked up in fireseed and in the table of what it lacks (_torch_support).
"""
import ast
import inspect
import os
import re
import sys
import types
from collections import namedtuple
from importlib import import_module

_USAGE = """\
usage: fireseed check [-q] [--allow-partial] script.py|notebook.ipynb|folder [...]

Lists each use of torch in the scripts, line by line: supported, partial or missing, with the reason and what to use
instead. The scripts are not run. What a script's own modules use is listed when they are named too. Lines of
notebooks are shown as cell,line.

  -q, --quiet       only what is not supported, and the summary
  --allow-partial   exit with 0 also where there are partial uses
exit status: 0 if everything is supported, 1 if not, 2 if a file cannot be read
"""

Use = namedtuple("Use", "line column name status reason")

# Packages built on PyTorch. They are Python code that imports torch, so some of them work.
_BUILT_ON_TORCH = frozenset((
    "accelerate", "deepspeed", "diffusers", "fastai", "ignite", "kornia", "lightning", "peft", "pytorch_lightning",
    "segmentation_models_pytorch", "stable_baselines3", "tianshou", "timm", "torch_geometric", "torchmetrics",
    "transformers"))

# Missing methods of tensors whose names other objects have too: x.values() is most often a dict's.
_COMMON_NAMES = frozenset(("values", "indices", "real", "imag", "storage", "name", "resize", "index"))

# numpy's names of arguments, which the engine takes as PyTorch does.
_OTHER_KEYWORDS = {"axis": "dim", "keepdims": "keepdim", "x": "input", "x1": "input", "x2": "other", "self": "input",
                   "input": "self"}


def resolve(name):
    """(exists, object) of a PyTorch name such as "torch.nn.functional.relu" in fireseed.

    Attributes of modules and of the class Tensor are looked up; what lies behind other objects counts as there.
    """
    import fireseed

    from ._as_torch import real_name

    here, path = fireseed, "fireseed"
    for part in real_name(name).split(".")[1:]:
        if not isinstance(here, (types.ModuleType, type)) or (isinstance(here, type) and here is not fireseed.Tensor):
            return True, None
        path += "." + part
        try:
            here = getattr(here, part)
        except (AttributeError, NotImplementedError):
            if not isinstance(here, types.ModuleType):
                return False, None
            try:
                here = import_module(path)
            except ImportError:
                return False, None
        except ImportError:  # there, with an optional dependency that is not installed
            return True, None
    return True, here


def _parameters(function):
    """The names of function's parameters; None where any keyword is taken or they are not known."""
    doc = getattr(function, "__doc__", None) or ""
    name = getattr(function, "__name__", "")
    if not isinstance(function, (types.FunctionType, types.MethodType, type)):
        # the engine's functions: "add(Operand input, Operand other, *, Scalar alpha=1)", one line a signature
        found = re.findall(rf"^{re.escape(name)}\((.*)\)", doc, re.M) if name else []
        if not found:
            return None
        names = {"out"}
        for signature in found:
            names.update(re.findall(r"(\w+)\s*(?:=[^,]*)?(?:,|$)", signature))
        return names | {other for other, own in _OTHER_KEYWORDS.items() if own in names}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters}


def status(name):
    """(status, reason) of a PyTorch name: ("supported" | "partial" | "missing", text)."""
    from ._torch_support import PARTIAL, reason

    if name.startswith("torch.Tensor."):
        name = name[len("torch."):]
    if name in PARTIAL:
        return "partial", PARTIAL[name]
    exists, _ = resolve("torch." + name if name.startswith("Tensor.") else name)
    return ("supported", "") if exists else ("missing", reason(name) or "fireseed has no such name")


class _Script(ast.NodeVisitor):
    """Collects the uses of torch in a syntax tree."""

    def __init__(self, tree):
        self.uses, self.aliases, self.modules, self.guards = [], {}, set(), 0
        self.rebound = set()  # names that also stand for something else: data = torch.utils.data; data = load()
        for node in ast.walk(tree):  # imports anywhere count everywhere
            if isinstance(node, ast.Import):
                self._bind_import(node)
            elif isinstance(node, ast.ImportFrom):
                self._bind_from(node)
        for _ in range(2):  # F = torch.nn.functional; relu = F.relu
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                    path = self._path(node.value)
                    if path and isinstance(node.value, ast.Attribute):
                        there = resolve(path)[1]
                        if isinstance(there, types.ModuleType) or callable(there):
                            self.aliases.setdefault(node.targets[0].id, path)
        for node in ast.walk(tree):
            if isinstance(node, ast.arg):
                self.rebound.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.rebound.add(node.id)
        self.visit(tree)

    # --- names

    def _bind_import(self, node):
        for item in node.names:
            root = _torch_name(item.name)
            if root is None:
                self.modules.add(item.asname or item.name.split(".")[0])
            elif item.asname:
                self.aliases[item.asname] = root
            else:
                self.aliases[item.name.split(".")[0]] = root.split(".")[0]

    def _bind_from(self, node):
        root = None if node.level else _torch_name(node.module or "")
        for item in node.names:
            if root is None:
                self.modules.add(item.asname or item.name)
            elif item.name == "*":
                _, module = resolve(root)
                for name in getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]:
                    self.aliases.setdefault(name, f"{root}.{name}")
            else:
                self.aliases[item.asname or item.name] = f"{root}.{item.name}"

    def _path(self, node):
        """ "torch.nn.Linear" for a name or a chain of attributes that starts at an alias of torch."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.aliases:
            return None
        return ".".join([self.aliases[node.id], *reversed(parts)])

    def _report(self, node, name, found=None):
        kind, reason = found or status(name)
        if self.guards and kind == "missing":
            kind, reason = "partial", f"missing, but inside try/except: {reason}"
        self.uses.append(Use(node.lineno, node.col_offset, name, kind, reason))

    # --- nodes

    def visit_Import(self, node):
        from ._as_torch import foreign

        for item in node.names:
            name, top = _torch_name(item.name), item.name.split(".")[0]
            if name is not None:
                self._report(node, name)
            else:
                self._foreign(node, top, foreign(top))

    def visit_ImportFrom(self, node):
        from ._as_torch import foreign

        if node.level:
            return
        root, top = _torch_name(node.module or ""), (node.module or "").split(".")[0]
        if root is None:
            self._foreign(node, top, foreign(top))
            return
        for item in node.names:
            self._report(node, root if item.name == "*" else f"{root}.{item.name}")

    def _foreign(self, node, top, reason):
        if reason:
            self._report(node, top, ("missing", reason))
        elif top in _BUILT_ON_TORCH:
            self._report(node, top, ("partial", "a package built on PyTorch: it may use what fireseed lacks"))

    def visit_Try(self, node):
        caught = {name.id if isinstance(name, ast.Name) else getattr(name, "attr", "")
                  for handler in node.handlers
                  for name in ([None] if handler.type is None else getattr(handler.type, "elts", [handler.type]))
                  if name is not None}
        guarded = bool(caught & {"ImportError", "ModuleNotFoundError", "AttributeError", "Exception",
                                 "NotImplementedError"}) or any(h.type is None for h in node.handlers)
        self.guards += guarded
        for child in node.body:
            self.visit(child)
        self.guards -= guarded
        for child in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(child)

    visit_TryStar = visit_Try

    def visit_Name(self, node):
        path = self.aliases.get(node.id)
        if path and "." in path and isinstance(node.ctx, ast.Load) and not isinstance(
                resolve(path)[1], types.ModuleType):
            self._report(node, path)

    def visit_Attribute(self, node):
        path = self._path(node)
        if path and not self._may_be_another(node, path):
            self._report(node, path)
            return
        self._method(node)
        self.visit(node.value)

    def _may_be_another(self, node, path):
        """Is path, which fireseed lacks, perhaps an attribute of something else that its first name was bound to?"""
        from ._torch_support import MISSING

        while isinstance(node, ast.Attribute):
            node = node.value
        return node.id in self.rebound and path not in MISSING and status(path)[0] == "missing"

    def _method(self, node):
        """A method of what may be a tensor: only those that fireseed is known to lack are reported."""
        from ._torch_support import MISSING

        root = node.value
        while isinstance(root, (ast.Attribute, ast.Call, ast.Subscript)):
            root = root.func if isinstance(root, ast.Call) else root.value
        if node.attr in _COMMON_NAMES or (isinstance(root, ast.Name) and root.id in self.modules):
            return
        if "Tensor." + node.attr in MISSING:
            self._report(node, "Tensor." + node.attr)

    def visit_Call(self, node):
        path = self._path(node.func)
        if path and not self._may_be_another(node.func, path):
            self._call(node, path)
        else:
            self.visit(node.func)
        for child in (*node.args, *node.keywords):
            self.visit(child)

    def _call(self, node, path):
        kind, reason = status(path)
        if kind == "supported":
            known = _parameters(resolve(path)[1])
            unknown = [k.arg for k in node.keywords if k.arg and known is not None and k.arg not in known]
            if unknown:
                kind, reason = "partial", "it does not take " + ", ".join(f"{k}=" for k in unknown) + " here"
        self._report(node.func, path, (kind, reason))


def _torch_name(module):
    """ "torch.nn" for "torch.nn" and "fireseed.nn", "torchvision.x" for itself, else None."""
    top, _, rest = module.partition(".")
    if top == "torchvision":
        return module
    if top not in ("torch", "fireseed"):
        return None
    return "torch." + rest if rest else "torch"


def check_source(source, filename="<script>"):
    """The uses of torch in Python source, in order: a list of Use(line, column, name, status, reason).

    SyntaxError for what does not parse.
    """
    found = _Script(ast.parse(source, filename)).uses
    return sorted(set(found), key=lambda use: (use.line, use.column, use.name))


def _notebook(text):
    """(source of all code cells, [(cell number, line in it)] of its lines); magics and shell lines become comments."""
    import json

    lines, places = [], []
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        source = cell["source"]
        for k, line in enumerate("".join(source).split("\n"), 1):
            body = line.lstrip()
            if body.startswith(("%", "!", "?")):
                line = line[:len(line) - len(body)] + "pass"
            lines.append(line)
            places.append((number, k))
    return "\n".join(lines) + "\n", places


def _read(path):
    """(source, how its line numbers are shown)."""
    with open(path, "rb") as file:
        data = file.read()
    if not path.endswith(".ipynb"):
        return data, lambda line: f"{line:5}"
    try:
        source, places = _notebook(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a notebook ({type(error).__name__}: {error})") from None
    return source, lambda line: "{:>3},{:3}".format(*places[line - 1])


def _files(paths):
    for path in paths:
        if os.path.isdir(path):
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(d for d in folders if not d.startswith(".") and d != "__pycache__")
                yield from (os.path.join(folder, n) for n in sorted(names) if n.endswith((".py", ".ipynb")))
        else:
            yield path


def _print_uses(uses, quiet, label):
    lines = {}
    for use in uses:  # a name once a line, as its worst
        worst = lines.setdefault((use.line, use.name), use)
        if use.status != "supported" and worst.status == "supported":
            lines[use.line, use.name] = use
    shown = [use for use in lines.values() if not quiet or use.status != "supported"]
    width = min(max((len(use.name) for use in shown), default=0), 44)
    for use in shown:
        print(f"{label(use.line)}: {use.name:{width}}  {use.status:9}  {use.reason}".rstrip())


def main(argv):
    """The command `fireseed check`; returns the exit status."""
    if any(a in ("-h", "--help") for a in argv):
        print(_USAGE, end="")
        return 0
    quiet = "-q" in argv or "--quiet" in argv
    lenient = "--allow-partial" in argv
    paths = [a for a in argv if a not in ("-q", "--quiet", "--allow-partial")]
    unknown = [a for a in paths if a.startswith("-")]
    if unknown or not paths:
        print(f"fireseed check: unknown option {unknown[0]}" if unknown else _USAGE.splitlines()[0], file=sys.stderr)
        return 2
    worst = 0
    for path in _files(paths):
        try:
            source, label = _read(path)
            uses = check_source(source, path)
        except (OSError, SyntaxError, ValueError) as error:
            print(f"{path}: cannot be read: {error}", file=sys.stderr)
            worst = 2
            continue
        by = {kind: {use.name for use in uses if use.status == kind} for kind in ("supported", "partial", "missing")}
        print(path)
        _print_uses(uses, quiet, label)
        names = len({use.name for use in uses})
        print(f"{len(uses)} uses of {names} names: {len(by['supported'])} supported, {len(by['partial'])} partial, "
              f"{len(by['missing'])} missing")
        if by["missing"] or (by["partial"] and not lenient):
            worst = max(worst, 1)
    return worst
