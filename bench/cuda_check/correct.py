"""Stages conform, tests and sanitizer: the emulated intrinsics against the GPU's, the kernel tests, compute-sanitizer."""
import math
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from .build import EMULATION, TESTS, sanitizer
from .report import ROOT, ended

# ---- conform -----------------------------------------------------------------------------------------------------


@dataclass
class Section:
    ulps: int
    words: list = field(default_factory=list)


def sections(path):
    """{name: Section} and {name: why it was skipped} of a file that cuda_conformance wrote."""
    found, skipped, words = {}, {}, []
    with open(path) as f:
        for line in f:
            if line.startswith("section "):
                _, name, ulps = line.split()
                words = found.setdefault(name, Section(int(ulps))).words
            elif line.startswith("skipped "):
                _, name, reason = line.rstrip("\n").split(" ", 2)
                skipped[name] = reason
            else:
                words.extend(line.split())
    return found, skipped


def ordered(word):
    """A float's bits as an integer that grows with it; None for NaN."""
    bits = int(word, 16)
    if bits & 0x7fffffff > 0x7f800000:
        return None
    return -(bits & 0x7fffffff) if bits >> 31 else bits


def compare(expected, got):
    """(equal within the section's ulps, a sentence)."""
    if len(expected.words) != len(got.words):
        return False, f"{len(got.words)} words, the emulation has {len(expected.words)}"
    if expected.words == got.words:
        return True, f"{len(got.words)} words equal"
    wrong, worst, at = 0, 0, None
    for i, (e, g) in enumerate(zip(expected.words, got.words)):
        if e == g:
            continue
        a, b = ordered(e), ordered(g)
        distance = 0 if a is None and b is None and expected.ulps else math.inf if a is None or b is None else abs(a - b)
        wrong += distance > expected.ulps
        if distance > worst or at is None:
            worst, at = distance, i
    as_float = [struct.unpack("<f", struct.pack("<I", int(s.words[at], 16)))[0] for s in (expected, got)]
    return wrong == 0, (f"{wrong} of {len(got.words)} words differ" if wrong else f"within {worst} ulp") + (
        f", worst at {at}: {got.words[at]} ({as_float[1]:.9g}), emulated {expected.words[at]} ({as_float[0]:.9g})")


def conform(c):
    """Bit for bit, but for library functions. Without a GPU the emulation is compared with itself in another order."""
    host = EMULATION / "cuda_conformance"
    if not host.exists():
        host = ROOT / "build/cuda_host/cuda_conformance"
    device = host if c.emulated else TESTS / "cuda_conformance"
    for program in (host, device):
        if not program.exists():
            c.rows.add("conform", "programs", False, f"{program.relative_to(ROOT)} is not built: --stages build")
            return
    files = [c.out / "conformance_emulated.txt", c.out / "conformance_device.txt"]
    for program, file, seed in ((host, files[0], "0"), (device, files[1], "5")):
        status, output = c.run([program, file], 60, env=c.environment(FS_CUDA_EMU_SEED=seed))
        if status != 0:
            c.rows.add("conform", f"{file.stem}", False, f"{ended(status)}: {output.strip()[-200:]}")
        if not file.exists():
            return
    (expected, _), (got, skipped) = sections(files[0]), sections(files[1])
    for name, section in expected.items():
        if not c.only.search(name):
            continue
        if name in got:
            c.rows.add("conform", name, *compare(section, got[name]))
        elif not any(name.startswith(s) for s in skipped):
            c.rows.add("conform", name, False, "the device's program did not come to it")
    for name, reason in skipped.items():
        c.rows.add("conform", name, None if reason.startswith("needs") else False, reason)
    for file in files:
        file.unlink()


# ---- tests -------------------------------------------------------------------------------------------------------


def suites(program):
    import subprocess
    p = subprocess.run([program, "--gtest_list_tests"], capture_output=True, text=True, timeout=60)
    return [line.rstrip(".") for line in p.stdout.splitlines() if line and not line.startswith((" ", "Running"))]


NOT_ON_A_GPU = "*StopTheKernel*"


def kernel_programs(c):
    """(name, command) of what to run, each in a process of its own: a kernel that fails takes the process's GPU away."""
    if c.emulated:
        return [(p.name, [p]) for p in sorted((ROOT / "build/cuda_host").glob("cuda_test_*"))
                if p.name not in ("cuda_test_engine", "cuda_test_planted_bugs") and c.only.search(p.name)]
    program = TESTS / "cuda_device_tests"
    if not program.exists():
        return []
    return [(s, [program, f"--gtest_filter={s}.*-{NOT_ON_A_GPU}", "--gtest_brief=1"])
            for s in suites(program) if c.only.search(s)]


def tests(c):
    """The kernel tests, a process a suite; then the Python tests on the device."""
    programs = kernel_programs(c)
    if not programs:
        c.rows.add("tests", "kernel tests", False, "not built: --stages build")
    with ThreadPoolExecutor(max(1, min(4, c.jobs // 2))) as pool:
        results = pool.map(lambda p: (p[0], *c.run(p[1], 40)), programs)
        for name, status, output in results:
            with open(c.out / "tests.log", "a") as f:
                f.write(f"{name}\n{output}\n")
            failures = [line for line in output.splitlines() if "Failure" in line or line.startswith("[  FAILED")]
            c.rows.add("tests", name, status == 0, "" if status == 0 else f"{ended(status)}: {(failures or [''])[0]}")
    pytest(c)


def pytest(c):
    """The op table and the tests of the device, on it."""
    workers = []
    if not c.emulated and c.run([sys.executable, "-c", "import xdist"], 20)[0] == 0:
        workers = ["-n", str(max(1, min(8, c.jobs // 2)))]
    if c.run([sys.executable, "-c", "import pytest"], 20)[0] != 0:
        return c.rows.add("tests", "pytest", None, "pytest is not installed")
    env = c.environment(FIRESEED_TEST_DEVICE="cuda")
    few = ["-k", "softmax or gelu"] if c.emulated else []
    for files in (["tests/test_ops.py"], ["tests/test_cuda.py", "tests/test_cuda_optim.py", "tests/test_amp.py"]):
        if files[0] != "tests/test_ops.py":
            env.pop("FIRESEED_TEST_DEVICE")
        status, output = c.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--maxfail=20", *workers, *few, *files],
                               60, "tests.log", env)
        lines = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR")) or " passed" in line or " failed" in line]
        c.rows.add("tests", f"pytest {files[0]}", status in (0, 5), f"{'' if status in (0, 5) else ended(status) + ': '}{(lines or [output[-200:]])[-1].strip('= ')}")
        for line in lines[:-1][:10]:
            c.rows.add("tests", line[:60], False, line)


# ---- sanitizer ---------------------------------------------------------------------------------------------------

# Of suites with shared memory and barriers.
SHARED = "Reduce*:Softmax*:Norm*:Loss*:Matmul*:Hopper*:Scan*:Sort*:Attention*:Conv*:Rnn*:Random*"
TOOLS = (("memcheck", 40, "*"), ("racecheck", 40, SHARED), ("synccheck", 15, SHARED), ("initcheck", 15, "*"))


def sanitize(c):
    """compute-sanitizer's tools over the kernel tests."""
    tool, program = sanitizer(), TESTS / "cuda_device_tests"
    if c.emulated or not tool or not program.exists():
        why = "the emulation has AddressSanitizer and ThreadSanitizer: make cuda-host-test SANITIZE=…" if c.emulated else \
            "compute-sanitizer not found" if not tool else "the kernel tests are not built"
        return c.rows.add("sanitizer", "compute-sanitizer", None, why)
    env = c.environment(FS_CUDA_CANARIES="0")
    for name, seconds, tests_ in TOOLS:
        if not c.only.search(name):
            continue
        status, output = c.run([tool, "--tool", name, "--error-exitcode", "77", "--print-limit", "20", program,
                                f"--gtest_filter={tests_}-{NOT_ON_A_GPU}", "--gtest_brief=1"], seconds, "sanitizer.log", env)
        reports = [line for line in output.splitlines() if line.startswith("=========")]
        summary = next((line.strip("= ") for line in reversed(reports) if "SUMMARY" in line), "")
        first = next((line.strip("= ") for line in reports if "Invalid" in line or "hazard" in line or "Uninitialized" in line
                      or "Barrier error" in line), "")
        if status is None and not first:  # as far as it came
            c.rows.add("sanitizer", name, None, f"no report in {seconds} s; not all tests ran")
        else:
            c.rows.add("sanitizer", name, status == 0, f"{summary} {first}".strip() or ended(status))
