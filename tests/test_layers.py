"""The shape of the sources: includes follow the layers, files stay short and say what they are for, kernels stay local."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CPP = ROOT / "cpp"
pytestmark = pytest.mark.skipif(not CPP.is_dir(), reason="the sources are not at hand")

# A layer and what it may include besides itself.
LAYERS = {
    "base": [],
    "math": ["base"],
    "tensor": ["base", "math"],
    "cpu": ["base", "math", "tensor"],
    "engine": ["base", "math", "tensor"],
    "ops": ["base", "math", "tensor", "cpu", "engine"],
    "replay": ["base", "math", "tensor", "cpu", "engine", "ops"],
    "bind": ["base", "math", "tensor", "cpu", "engine", "ops", "replay"],
    "cuda": ["base", "math", "tensor", "runtime", "device"],  # the last two are cuda's own folders
}
MAX_LINES = 700
SUFFIXES = {".h", ".cpp", ".inc", ".def", ".cu", ".cuh", ".py"}


def sources(*folders):
    files = []
    for folder in folders:
        files += [p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in SUFFIXES and p.is_file()]
    return files


def layer_of(path):
    parts = path.relative_to(ROOT).parts
    return "cuda" if parts[0] == "cuda" else parts[1] if len(parts) > 2 else None


def test_includes_follow_the_layers():
    wrong = []
    for path in sources("cpp", "cuda"):
        layer = layer_of(path)
        if layer is None or path.suffix == ".py":
            continue
        allowed = {layer, *LAYERS[layer]}
        if layer == "cuda":  # includes within it name its folders
            allowed |= {p.name for p in (ROOT / "cuda").iterdir() if p.is_dir()}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not found or found[1] == "ops.def":
                continue
            target = found[1].split("/")[0]
            if "/" not in found[1] or target not in allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {layer} includes {found[1]}")
    assert not wrong, "\n".join(wrong)


def test_every_folder_is_a_layer():
    folders = {p.name for p in CPP.iterdir() if p.is_dir()}
    assert folders <= set(LAYERS)


def test_files_are_short():
    long = []
    for path in sources("cpp", "cuda", "python", "tests"):
        count = len(path.read_text().splitlines())
        if count > MAX_LINES:
            long.append(f"{path.relative_to(ROOT)}: {count} lines, at most {MAX_LINES}")
    assert not long, "\n".join(long)


def test_files_open_with_their_purpose():
    silent = []
    for path in sources("cpp", "cuda", "python", "tests", "examples", "bench"):
        text = path.read_text()
        first = text.split("\n", 1)[0]
        opens = ('"""', 'r"""', "#", "'''") if path.suffix == ".py" else ("//",)
        if text.strip() and not first.startswith(opens):
            silent.append(f"{path.relative_to(ROOT)}: begins with {first[:60]!r}")
    assert not silent, "\n".join(silent)


def build_folders():
    """Build trees beside the sources, and where the library under test lies."""
    import fireseed

    places = {*(ROOT / "build").glob("*"), Path(fireseed._C.__file__).parent.parent.parent}
    return [p for p in places if p.is_dir()]


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm (binutils) is not installed")
def test_kernels_keep_their_symbols():
    """No function compiled for AVX2 or AVX-512 may serve as the copy of an inline function for everybody."""
    merged = [p for folder in build_folders() for p in folder.glob("kernels_*.o")]
    if not merged:
        pytest.skip("no build tree at hand")
    for path in merged:
        isa = path.stem.removeprefix("kernels_")
        listing = subprocess.run(["nm", "--defined-only", "--extern-only", "-C", path], check=True, capture_output=True, text=True)
        names = [line.split(maxsplit=2)[2] for line in listing.stdout.splitlines() if line.strip()]
        assert names == [f"fireseed::cpu::{isa}::kTable"], f"{path} lets out {names[:10]}"


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_cuda_kernels_are_one_translation_unit(tmp_path):
    """As in a wheel (Note [Size of the plugin]): no two files may use one name for different things."""
    alone = re.compile(r"^// (Rarely used|Optimised in full): ", re.M)
    files = [p for p in sources("cuda/kernels") if p.suffix == ".cu" and not p.stem.endswith("_sm90") and not alone.search(p.read_text())]
    assert len(files) > 35
    unit = tmp_path / "unit.cpp"
    unit.write_text("".join(f'#include "{p}"\n' for p in files))
    folders = [f"-I{ROOT / folder}" for folder in ("tests/cuda_host/include", "tests/cuda_host", "cuda", "cpp")]
    p = subprocess.run(["g++", "-std=c++20", "-fsyntax-only", "-w", "-DFS_CUDA_EMU", *folders, unit], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr[-3000:]
