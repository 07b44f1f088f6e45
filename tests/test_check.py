"""fireseed check: uses of torch found without running the script, their status, the summary and the exit status."""
import json
from pathlib import Path

import fireseed
import pytest
from fireseed import _torch_support
from fireseed.check import check_source, main, resolve, status
from test_run import execute


def found(source):
    return [(use.line, use.name, use.status) for use in check_source(source)]


def test_names_are_followed_through_imports_and_assignments():
    assert found("""import torch
import torch.nn as nn, numpy as np
from torch import optim, zeros as z
from torch.nn import functional as F
import torch.utils.data
relu = F.relu
layers = torch.nn
class Net(nn.Module):
    def forward(self, x):
        return relu(F.softmax(layers.Linear(1, 2)(x), dim=1)) + z(2) + np.zeros(2) + x.view(3)
torch.fft.rfft(nn.Parameter(torch.ones(3)).data)
""") == [
        (1, "torch", "supported"), (2, "torch.nn", "supported"), (3, "torch.optim", "supported"),
        (3, "torch.zeros", "supported"), (4, "torch.nn.functional", "supported"),
        (5, "torch.utils.data", "supported"), (6, "torch.nn.functional.relu", "supported"),
        (7, "torch.nn", "supported"), (8, "torch.nn.Module", "supported"),
        (10, "torch.nn.functional.relu", "supported"), (10, "torch.nn.functional.softmax", "supported"),
        (10, "torch.nn.Linear", "supported"), (10, "torch.zeros", "supported"),
        (11, "torch.fft.rfft", "missing"), (11, "torch.nn.Parameter", "supported"), (11, "torch.ones", "supported")]


def test_fireseed_under_its_own_name():
    assert found("import fireseed as torch\nfrom fireseed.nn import Linear\ntorch.fft") == [
        (1, "torch", "supported"), (2, "torch.nn.Linear", "supported"), (3, "torch.fft", "missing")]


def test_reasons_and_alternatives():
    uses = {use.name: use for use in check_source(
        "import torch, torchaudio\nfrom torch.sparse import mm\nx.to_sparse()\ntorch.compile(f)\nimport timm\n"
        "torch.nn.Lineaar\ntorch.Tensor.coalesce")}
    assert uses["torchaudio"].status == "missing" and "C++ library" in uses["torchaudio"].reason
    assert uses["torch.sparse.mm"].status == "missing" and "use dense tensors" in uses["torch.sparse.mm"].reason
    assert uses["Tensor.to_sparse"].status == "missing" and uses["torch.Tensor.coalesce"].status == "missing"
    assert uses["torch.compile"].status == "partial" and "runs as it is written" in uses["torch.compile"].reason
    assert uses["timm"].status == "partial"
    assert uses["torch.nn.Lineaar"].reason == "fireseed has no such name"


def test_names_that_are_bound_anew():
    assert [use for use in found("import torch.optim as optim\nfrom torch.utils import data\noptim = optim.SGD(p, 1)\n"
                                 "optim.step()\ndef load(data):\n    data.sort()\n    return data.name\n")
            if use[2] != "supported"] == []
    assert found("import torch.nn as n\ndef f(n):\n    n.SyncBatchNorm(3)\n")[-1][2] == "missing"


def test_torchvision():
    uses = {use.name: use for use in check_source(
        "import torchvision\nfrom torchvision import datasets, transforms\nimport torchvision.models as models\n"
        "datasets.MNIST('data', download=True, transform=transforms.ToTensor())\nmodels.resnet18()\n"
        "torchvision.utils.save_image(x, 'x.png')\ntransforms.RandomPosterize()\n")}
    assert {name for name, use in uses.items() if use.status == "supported"} == {
        "torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.datasets.MNIST",
        "torchvision.transforms.ToTensor", "torchvision.utils.save_image"}
    assert "write the model with torch.nn (examples" in uses["torchvision.models.resnet18"].reason
    assert "Lambda" in uses["torchvision.transforms.RandomPosterize"].reason


def test_keywords_that_a_function_does_not_take():
    source = "import torch\ntorch.nn.Linear(1, 2, bias=True, device='cpu')\ntorch.sum(x, dim=1, keepdims=True)\n" \
             "torch.nn.Linear(1, 2, biased=True)\ntorch.cumsum(x, dimension=0)\ntorch.optim.Adam(p, **options)\n" \
             "torch.cat([x], axis=0)\ntorch.randn(2, generator=g, requires_grad=True)\n"
    by_line = {use.line: use for use in check_source(source) if use.status == "partial"}
    assert set(by_line) == {4, 5}
    assert by_line[4].reason == "it does not take biased= here" and "dimension=" in by_line[5].reason


def test_uses_inside_try_are_not_errors():
    source = "try:\n    import torch.fft\nexcept ImportError:\n    pass\ntry:\n    import torch.sparse\nfinally:\n    pass\n"
    (one, two) = check_source(source)
    assert one.status == "partial" and one.reason.startswith("missing, but inside try/except")
    assert two.status == "missing"


def test_other_objects_are_left_alone():
    assert found("import numpy as np, scipy.sparse\nscipy.sparse.coo_matrix(m).coalesce()\nd.values()\nz.real\n"
                 "def torch_like(F): return F.relu(1)\n") == []


def test_star_imports_and_relative_imports():
    assert found("from torch.nn import *\nfrom . import torch_utils\nfrom .torch import nn\nLinear(1, 2)\n") == [
        (1, "torch.nn", "supported"), (4, "torch.nn.Linear", "supported")]


def test_statuses_hold():
    assert status("torch.nn.functional.relu") == status("Tensor.add_") == status("torch.Tensor.add_") == \
        ("supported", "")
    assert status("torch.nn.Linear.in_features")[0] == "supported"  # of instances: classes are not looked into
    assert status("torch.float32.itemsize")[0] == "supported"
    assert status("Tensor.no_such_method")[0] == "missing"
    assert resolve("torch.utils.data.DataLoader") == (True, fireseed.utils.data.DataLoader)


@pytest.mark.parametrize("name", [n for n in _torch_support.MISSING if not set(n) & set(_torch_support.WILD)])
def test_what_the_table_calls_missing_is_not_there(name):
    exists, _ = resolve("torch." + name if name.startswith("Tensor.") else name)
    assert not exists, f"{name} exists: take it off the table MISSING"


@pytest.mark.parametrize("name", _torch_support.PARTIAL)
def test_what_the_table_calls_partial_is_there(name):
    assert resolve(name)[0]


def test_missing_methods_say_why():
    for name in _torch_support.MISSING:
        if name.startswith("Tensor."):
            reason = _torch_support.MISSING[name]
            if isinstance(vars(fireseed.Tensor).get(name[len("Tensor."):]), fireseed._namespaces.MissingMethod):
                with pytest.raises(AttributeError) as error:
                    getattr(fireseed.ones(1), name[len("Tensor."):])
                assert str(error.value) == f"fireseed has no {name}: {reason}"
    declared = {"Tensor." + n for n, v in vars(fireseed.Tensor).items()
                if isinstance(v, fireseed._namespaces.MissingMethod)}
    assert len(declared) > 30 and declared <= set(_torch_support.MISSING)


def test_command(tmp_path, capsys):
    good, bad, broken = tmp_path / "good.py", tmp_path / "bad.py", tmp_path / "broken.py"
    good.write_text("import torch\nprint(torch.ones(2))\n")
    bad.write_text("import torch\ntorch.compile(torch.nn.ReLU())\ntorch.stft(torch.ones(4), 4)\n")
    broken.write_text("import torch\ndef f(:\n")
    assert main([str(good)]) == 0
    assert capsys.readouterr().out == f"{good}\n    1: torch       supported\n    2: torch.ones  supported\n" \
                                      "2 uses of 2 names: 2 supported, 0 partial, 0 missing\n"
    assert main(["-q", str(bad)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 4 and out[1].startswith("    2: torch.compile  partial    returns the module")
    assert out[2].startswith("    3: torch.stft     missing    complex tensors are not part of fireseed")
    assert out[3] == "5 uses of 5 names: 3 supported, 1 partial, 1 missing"
    assert main([str(good), str(broken)]) == 2 and "broken.py: cannot be read" in capsys.readouterr().err
    assert main([str(tmp_path / "none.py")]) == 2
    bad.write_text("import torch\ntorch.compile(torch.nn.ReLU())\n")
    assert main([str(bad)]) == 1 and main(["--allow-partial", str(bad)]) == 0
    broken.unlink()
    capsys.readouterr()
    assert main([str(tmp_path)]) == 1 and str(good) in capsys.readouterr().out
    assert main([]) == 2 and main(["--fast"]) == 2 and main(["--help"]) == 0


def test_notebooks(tmp_path, capsys):
    cells = [{"cell_type": "markdown", "source": ["# torch.fft"]},
             {"cell_type": "code", "source": ["%matplotlib inline\n", "!pip install x\n", "import torch"]},
             {"cell_type": "code", "source": "if True:\n    %time f()\ntorch.fft.rfft(x)"}]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert main([str(path)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith("  1,  3: torch ") and out[2].startswith("  2,  3: torch.fft.rfft  missing")
    path.write_text("[]")
    assert main([str(path)]) == 2 and "not a notebook" in capsys.readouterr().err


def test_documentation_shows_what_is_printed(tmp_path, monkeypatch, capsys):
    page = Path(__file__).parent.parent / "docs" / "scripts.md"
    if not page.exists():
        pytest.skip("the documentation is not at hand")
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("import torch\n\n\nstep = torch.compile(step)\n\n\n\n\ny = torch.fft.rfft(x)\n")
    main(["train.py"])
    assert capsys.readouterr().out in page.read_text()


def test_as_a_command_of_the_package(tmp_path):
    path = tmp_path / "s.py"
    path.write_text("import torch, os\nos.remove(__file__)\n")
    done = execute("-m", "fireseed", "check", path)
    assert done.returncode == 0 and path.exists() and "1 uses of 1 names" in done.stdout
    assert execute("-m", "fireseed", "--version").stdout.startswith("fireseed ")
    assert execute("-m", "fireseed", "fly").returncode == 2
    path.write_text("import torch\nprint(torch.ones(1).dtype)\n")
    assert execute("-m", "fireseed", "run", path).stdout == "torch.float32\n"


def test_pytorch_is_not_imported(tmp_path):
    path = tmp_path / "s.py"
    path.write_text("import torch\ntorch.nn.Linear(1, 2)\n")
    code = f"import sys; from fireseed.check import main; main([{str(path)!r}]); assert 'torch' not in sys.modules"
    assert execute("-c", code).returncode == 0
