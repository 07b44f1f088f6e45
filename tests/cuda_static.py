"""What nvcc made of the kernels that say what they want: no spilled registers, 16-byte accesses, tensor core instructions.

    python tests/cuda_static.py [--only REGEX]          make cuda-static

A kernel asks by a comment before it, `// Compiles to: no spills, LDG.E.128, STG.E.128`, in a header with the file to look
at: `// Compiles to (pointwise_activation.cu): …`. Every instantiation there is held to it: `no spills` by ptxas' report,
opcodes by the disassembly (and then no LDL either; not those for float64), where a cuobjdump is found: $CUOBJDUMP, PATH, CUDA's folder, or
the one in Python's triton package. Files are compiled for sm_90, *_sm90.cu for sm_90a. Exit status 1 where one falls short.
"""
import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from cuda_check.ptxas import demangled, functions  # noqa: E402

KERNELS = ROOT / "cuda/kernels"
OPTIONS = dict(re.findall(r"^set\((FS_NVCC_\w+) (.*)\)$", (ROOT / "cmake/nvcc.cmake").read_text(), re.M))
FLAGS = ["-std=c++20", *OPTIONS["FS_NVCC_OPTIONS"].split(), "-Xptxas=-v", "-I", ROOT / "cuda", "-I", ROOT / "cpp"]
ASKS = re.compile(r"^// Compiles to(?: \(([\w.]+)\))?: (.+)$\n(?:^//.*\n)*(?P<head>[^{;]*?)\bvoid\b(?P<rest>[^{;]*)", re.M)


@dataclass
class Wish:
    kernel: str
    file: str
    spills: bool     # allowed
    opcodes: list


def wishes():
    found = []
    for path in sorted([*KERNELS.glob("*.cu"), *KERNELS.glob("*.cuh")]):
        for m in ASKS.finditer(path.read_text()):
            rest = re.sub(r"__launch_bounds__\((?:[^()]|\([^()]*\))*\)", "", m["rest"])
            name = re.search(r"(\w+)\s*\(", rest)[1]
            wanted = [w.strip() for w in m[2].split(",")]
            found.append(Wish(name, m[1] or path.name, "no spills" not in wanted, [w for w in wanted if w != "no spills"]))
    return found


def disassembler():
    places = [os.environ.get("CUOBJDUMP"), shutil.which("cuobjdump"), "/usr/local/cuda/bin/cuobjdump"]
    if spec := importlib.util.find_spec("triton"):
        places.append(str(Path(spec.origin).parent / "backends/nvidia/bin/cuobjdump"))
    return next((p for p in places if p and os.access(p, os.X_OK)), None)


def compiled(file, folder):
    """(file, ptxas' report, path of the machine code)."""
    cubin = Path(folder) / (file + ".cubin")
    arch = "sm_90a" if file.endswith("_sm90.cu") else "sm_90"
    launcher = [shutil.which("ccache")] if shutil.which("ccache") else []
    in_full = re.search(r"^// Optimised in full: ", (KERNELS / file).read_text(), re.M)
    flags = FLAGS if in_full else [*FLAGS, OPTIONS["FS_NVCC_SMALL_CODE"]]
    p = subprocess.run([*launcher, "nvcc", *flags, f"-gencode=arch=compute_{arch[3:]},code={arch}", "-cubin", KERNELS / file, "-o", cubin],
                       capture_output=True, text=True)
    if p.returncode != 0:
        sys.exit(f"{file} does not compile:\n{p.stderr}")
    return file, p.stderr + p.stdout, cubin


def disassembled(tool, cubin):
    """{mangled name: its instructions}."""
    text = subprocess.run([tool, "-sass", cubin], capture_output=True, text=True, check=True).stdout
    parts = re.split(r"^\s*Function : (\S+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def shortfalls(wish, kernels, code):
    """Sentences about the instantiations of one kernel; kernels: (readable name, ptxas' Function)."""
    mine = [(name, f) for name, f in kernels if re.search(rf"\b{wish.kernel}[<(]", name)]
    if not mine:
        return [f"{wish.file}: no kernel {wish.kernel}, which asks for something"]
    found = []
    for name, f in mine:
        where = f"{wish.file}: {re.sub(r'fireseed::(cuda::)?|[(]anonymous namespace[)]::|^void ', '', name).split('(')[0]}"
        if not wish.spills and f.spill_stores + f.spill_loads:
            found.append(f"{where}: {f.spill_stores} bytes of spill stores, {f.spill_loads} of loads, {f.registers} registers")
        if not code or f.name not in code:
            continue
        instructions = code[f.name]
        opcodes = [] if "double" in where else wish.opcodes
        found += [f"{where}: no {op}" for op in opcodes if not re.search(rf"\b{re.escape(op)}\b", instructions)]
        if not wish.spills and (local := re.findall(r"\bLDL\S*", instructions)):  # STL alone: the arguments of a printf
            found.append(f"{where}: {len(local)} loads of local memory")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="files whose name matches")
    args = parser.parse_args()
    if not shutil.which("nvcc"):
        return print("skipped: no nvcc on PATH")
    asked = [w for w in wishes() if re.search(args.only, w.file)]
    tool = disassembler()
    if tool is None:
        print("opcodes are not looked at: no cuobjdump (CUOBJDUMP=path, or pip install --no-deps triton)")
    wrong, checked = [], 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        for file, report, cubin in pool.map(lambda f: compiled(f, folder), dict.fromkeys(w.file for w in asked)):
            found = functions(report)
            kernels = list(zip(demangled(f.name for f in found), found))
            code = disassembled(tool, cubin) if tool else {}
            for wish in (w for w in asked if w.file == file):
                wrong += shortfalls(wish, kernels, code)
                checked += 1
    print("\n".join(wrong) if wrong else f"{checked} kernels compile to what they ask for")
    return sys.exit(1) if wrong else None


if __name__ == "__main__":
    main()
