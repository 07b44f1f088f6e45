"""What `ptxas -v` says of kernels: registers, stack, spills, shared memory."""
import re
import subprocess
from dataclasses import dataclass


@dataclass
class Function:
    name: str  # mangled
    arch: str
    registers: int = 0
    stack: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    shared: int = 0


def functions(text):
    """The kernels in a compiler's output, in its order."""
    found = []
    for line in text.splitlines():
        if entry := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            found.append(Function(*entry.groups()))
        elif not found:
            continue
        elif stack := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            f = found[-1]
            f.stack, f.spill_stores, f.spill_loads = map(int, stack.groups())
        elif used := re.search(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?", line):
            found[-1].registers, found[-1].shared = int(used[1]), int(used[2] or 0)
    return found


def demangled(names):
    """Readable names, in the same order."""
    names = list(names)
    try:
        p = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True)
    except OSError:
        return names
    return p.stdout.splitlines() if p.returncode == 0 and names else names
