# The census of what real scripts use (data/census.txt): its entries, and running the small use of one.
import ast
import os
import re
import tempfile
from collections import namedtuple

FILE = os.path.join(os.path.dirname(__file__), "data", "census.txt")
Entry = namedtuple("Entry", "name keywords foreign code reason")


def entries():
    """All entries; code is None for those with a reason."""
    found = []
    with open(FILE) as file:
        for line in file:
            line = line.rstrip("\n")
            if line.startswith("#") or not line:
                continue
            match = re.fullmatch(r"(\S+(?: =)?)(?: \(([^)]*)\))? (::|!!) (.*)", line)
            assert match, line
            own, _, foreign = (match[2] or "").partition("- ")
            keywords = tuple(k.strip() for k in own.split(",") if k.strip())
            code, reason = (match[4], None) if match[3] == "::" else (None, match[4])
            found.append(Entry(match[1], keywords, tuple(foreign.split(", ")) if foreign else (), code, reason))
    return found


def run(code, torch):
    """The value of the last expression of code (None where it ends with a statement), on either library."""
    import numpy as np

    torch.manual_seed(0)
    nn, folder = torch.nn, tempfile.mkdtemp(prefix="census")

    def gpu(call):
        if torch.cuda.is_available():
            call()
            return
        try:
            call()
        except Exception as error:
            if isinstance(error, AttributeError) and torch.__name__ == "fireseed":
                raise  # the name itself is missing
            return
        raise AssertionError("without a GPU this must raise")

    def alone(**options):
        store = {"init_method": f"file://{folder}/start", "backend": "gloo", "rank": 0, "world_size": 1}
        torch.distributed.init_process_group(**{**store, **options})
        return torch.distributed

    x = torch.arange(6.0).reshape(2, 3) / 10
    names = {"torch": torch, "nn": nn, "F": torch.nn.functional, "np": np, "data": torch.utils.data, "x": x,
             "v": torch.tensor([0.5, 1.0, 2.0, 4.0]), "i": torch.tensor([2, 0, 1]),
             "mask": torch.tensor([[True, False, True], [False, False, True]]),
             "w": x.clone().requires_grad_(), "m": nn.Linear(3, 2), "image": torch.arange(72.0).reshape(1, 2, 6, 6) / 72,
             "folder": folder, "os": os, "gpu": gpu, "alone": alone}
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<census>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<census>", "eval"), names) if last else None


def plain(value):
    """value as nested lists of numbers and strings, for comparison."""
    if hasattr(value, "detach"):
        return value.detach().cpu().double().tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value
