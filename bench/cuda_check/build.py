"""Stages env and build: what the machine has; the engine, the plugin and the kernel tests for its GPU."""
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .report import ROOT, ended

BUILD, TESTS, EMULATION = ROOT / "build/cuda_check", ROOT / "build/cuda_check_tests", ROOT / "build/cuda_check_emu"


def first_line(command):
    try:
        p = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not found ({type(error).__name__})"
    return (p.stdout or p.stderr).strip().split("\n")[-1 if command[0] == "nvcc" else 0]


def smi(query):
    return first_line(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"])


def env(c):
    """The GPU, its clocks, compilers, libraries."""
    c.rows.add("env", "gpu", None if c.emulated else shutil.which("nvidia-smi") is not None,
               "emulated" if c.emulated else smi("name,driver_version,compute_cap,memory.total,memory.free"))
    if not c.emulated:
        c.rows.add("env", "clocks", True, smi("clocks.sm,clocks.mem,temperature.gpu,power.draw"))
    for name, command in (("nvcc", ["nvcc", "--version"]), ("g++", ["g++", "--version"]),
                          ("cmake", [tool("cmake"), "--version"]), ("ninja", [tool("ninja"), "--version"])):
        found = first_line(command)
        c.rows.add("env", name, "not found" not in found or None, found)
    status, output = c.run([sys.executable, "-c", TORCH], 60)
    c.rows.add("env", "torch", status == 0 or None, output.strip().split("\n")[-1])
    c.rows.add("env", "python", True, f"{sys.version.split()[0]}, {c.jobs} cores")
    for name, test in (("compute-sanitizer", sanitizer()), ("ncu", shutil.which("ncu")), ("cublas", cublas())):
        c.rows.add("env", name, bool(test) or None, str(test or "not found"))


TORCH = ("import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda,"
         "'with a GPU' if torch.cuda.is_available() else 'without a GPU')")


def tool(name):
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def sanitizer():
    return shutil.which("compute-sanitizer") or next(
        (str(p) for p in Path("/usr/local/cuda").glob("**/compute-sanitizer") if p.is_file()), None)


def cublas():
    """A path or name that dlopen takes, or None."""
    import ctypes
    import ctypes.util
    places = [ctypes.util.find_library("cublas"), "libcublas.so.13", "libcublas.so.12"]
    for folder in dict.fromkeys(filter(None, [sysconfig.get_paths()["purelib"], "/usr/local/cuda"])):
        places += sorted(map(str, Path(folder).glob("nvidia/*/lib/libcublas.so.*")))
        places += sorted(map(str, Path(folder).glob("lib64/libcublas.so.*")))
    for place in filter(None, places):
        try:
            ctypes.CDLL(place)
        except OSError:
            continue
        return place
    return None


def architecture():
    found = smi("compute_cap").replace(".", "")
    return f"{found}-real" if found.isdigit() else "90-real"


def build(c):
    """The package with its plugin in build/cuda_check, the kernel tests, the emulated conformance program."""
    if c.emulated:
        return build_emulated(c)
    missing = [m for m in ("pybind11",) if importlib.util.find_spec(m) is None]
    if missing:
        c.run([sys.executable, "-m", "pip", "install", "-q", *missing], 60, "build.log")
    flags = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    arch = architecture()
    known = "ON" if first_line(["g++", "-dumpversion"]).startswith("12") else "OFF"  # a newer compiler warns of more
    plugin = configure_and_build(
        c, "plugin", ROOT, BUILD, [*flags, "-DFIRESEED_CUDA=ON", f"-DFIRESEED_CUDA_ARCHS={arch}", "-DFIRESEED_ISAS=native",
                                   "-DFIRESEED_TESTS=OFF", f"-DFIRESEED_WERROR={known}", f"-DPython_EXECUTABLE={sys.executable}",
                                   "-DCMAKE_CUDA_FLAGS=-Xptxas=-v"], [])
    device = ["-DFS_CUDA_HOST_DEVICE=ON", f"-DCMAKE_CUDA_ARCHITECTURES={arch}",
              f"-DFS_GOOGLETEST={os.environ.get('FS_GOOGLETEST', '/usr/src/googletest')}"]
    jobs = {"plugin": plugin, "emulation": configure_and_build(c, "emulated conformance", ROOT / "tests/cuda_host", EMULATION, flags, ["cuda_conformance"]),
            "conformance": configure_and_build(c, "conformance", ROOT / "tests/cuda_host", TESTS, [*flags, *device], ["cuda_conformance"])}
    with ThreadPoolExecutor() as pool:
        results = dict(zip(jobs, pool.map(lambda job: job(), jobs.values())))
    for name, (ok, detail) in results.items():
        c.rows.add("build", name, ok, detail)
    if not results["plugin"][0]:
        return
    c.python_package = BUILD / "python"
    kernels = sorted(map(str, (BUILD / "CMakeFiles/fireseed_cuda.dir/cuda/kernels").glob("*.o")))
    job = configure_and_build(c, "tests", ROOT / "tests/cuda_host", TESTS,
                              [*flags, *device, f"-DFS_CUDA_HOST_KERNELS={';'.join(kernels)}"], ["cuda_device_tests"])
    c.rows.add("build", "kernel tests", *job())
    spilling(c)


def configure_and_build(c, name, source, folder, options, targets):
    log = "build.log"

    def job():
        status, output = c.run([tool("cmake"), "-S", source, "-B", folder, *options], 120, log)
        if status != 0:
            return False, f"cmake: {ended(status)}: {last_error(output)}"
        command = [tool("cmake"), "--build", folder, "-j", str(c.jobs)]
        status, output = c.run(command + (["--target", *targets] if targets else []), 300, log)
        return status == 0, "" if status == 0 else f"{ended(status)}: {last_error(output)}"
    return job


def last_error(output):
    lines = [line for line in output.splitlines() if "error" in line.lower() or "FAILED" in line]
    return (lines or output.splitlines() or [""])[0].strip()


def spilling(c):
    """Kernels whose registers did not do, from ptxas' report in the log."""
    from .ptxas import functions
    log = (c.out / "build.log").read_text(errors="replace")
    spilled = [f"{f.name} ({f.spill_stores + f.spill_loads} bytes)" for f in functions(log) if f.spill_stores + f.spill_loads]
    c.rows.add("build", "registers", True, f"{len(spilled)} kernels spill" + (": " + ", ".join(spilled[:5]) if spilled else ""))


def build_emulated(c):
    """With the emulated plugin, in the build folder there is."""
    dev = ROOT / "build/dev"
    if not (dev / "build.ninja").exists():
        return c.rows.add("build", "emulated plugin", False, "no build/dev: make build, or cmake -S . -B build/dev -G Ninja")
    for name, folder, target in (("emulated plugin", dev, "fireseed_cuda_emu"), ("conformance", ROOT / "build/cuda_host", "cuda_conformance")):
        if folder != dev and not (folder / "build.ninja").exists():
            c.run([tool("cmake"), "-S", ROOT / "tests/cuda_host", "-B", folder, "-G", "Ninja"], 120, "build.log")
        status, output = c.run([tool("cmake"), "--build", folder, "--target", target], 3600, "build.log")
        c.rows.add("build", name, status == 0, "" if status == 0 else f"{ended(status)}: {last_error(output)}")
