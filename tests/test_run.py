"""python -m fireseed.run and as_torch(): scripts see fireseed under torch's names, and python's own behaviour."""
import os
import subprocess
import sys
import textwrap

import fireseed
import pytest
from fireseed.torch_version import TorchVersion


def execute(*args, cwd=None, stdin=None, **environment):
    """A finished `python args` that imports this fireseed."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(fireseed.__file__)))
    env = {**os.environ, "PYTHONPATH": root, "FIRESEED_NUM_THREADS": "1", **environment}
    return subprocess.run([sys.executable, *map(str, args)], cwd=cwd, env=env, capture_output=True, text=True,
                          timeout=120)


@pytest.fixture
def script(tmp_path):
    """script(text, *args): runs text under fireseed.run; its output, or the whole result with whole=True."""
    def run(text, *args, whole=False, **environment):
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        done = execute("-m", "fireseed.run", path, *args, cwd=tmp_path, **environment)
        if whole:
            return done
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run


def test_modules_are_the_same_objects(script):
    script("""
        import fireseed
        import torch
        import torch.nn as nn
        import torch.nn.functional as F
        import torch.optim.lr_scheduler as schedules
        import torch.utils.data
        from torch import nn as nn2, optim
        from torch.autograd import Function, Variable
        from torch.nn.modules.linear import Linear
        from torch.nn.utils.rnn import pad_sequence
        from torch.utils.data import DataLoader, TensorDataset
        assert torch is fireseed and nn is nn2 is fireseed.nn and F is fireseed.nn.functional
        assert optim is fireseed.optim and schedules is fireseed.optim.lr_scheduler
        assert torch.utils.data.DataLoader is DataLoader is fireseed.utils.data.DataLoader
        assert Linear is nn.Linear and isinstance(torch.ones(2), torch.Tensor)
        assert nn.__spec__.name == "fireseed.nn" and nn.__name__ == "fireseed.nn"
    """)


def test_star_imports(script):
    assert script("""
        from torch import *
        from torch.nn import *
        from torch.nn.functional import *
        print(ones(2) + 1, Linear(1, 1), relu(tensor([-1., 2.])), save.__name__)
    """) == "tensor([2., 2.]) Linear(in_features=1, out_features=1, bias=True) tensor([0., 2.]) save\n"


def test_texts_are_pytorchs(script):
    out = script("""
        import torch
        x = torch.zeros(2, 3, dtype=torch.float64)
        print(x.dtype, x.shape, x.type(), [torch.int64], torch.strided, torch.typename(x))
        print(x)
        assert str(x.dtype).split(".")[1] == "float64" and x.type() == "torch.DoubleTensor"
    """)
    assert out.splitlines()[0] == "torch.float64 torch.Size([2, 3]) torch.DoubleTensor [torch.int64] torch.strided " \
                                  "torch.DoubleTensor"
    assert out.splitlines()[-1] == "        [0., 0., 0.]], dtype=torch.float64)"
    assert str(fireseed.float32) == "fireseed.float32"


def test_main_is_as_python_sets_it(script, tmp_path):
    text = """
        import sys, os
        import helper
        print(__name__, __file__, sys.argv, sys.path[0], __spec__, __package__, helper.torch.__name__)
        print(sys.modules["__main__"].__dict__ is globals(), __builtins__.len)
        class Thing: pass
        import pickle
        assert isinstance(pickle.loads(pickle.dumps(Thing())), Thing)
        assert "--flag" in sys.argv and sys.flags.optimize == 0
    """
    (tmp_path / "helper.py").write_text("import torch\n")
    path = tmp_path / "script.py"
    out = script(text, "a", "--flag", "-m")
    assert out.splitlines()[0] == f"__main__ {path} {[str(path), 'a', '--flag', '-m']} {tmp_path} None None fireseed"
    assert out.splitlines()[1] == "True <built-in function len>"


def test_tracebacks_are_the_scripts(script, tmp_path):
    done = script("""
        import torch
        def f(x):
            return x @ x
        f(torch.ones(2, 3))
    """, whole=True)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{tmp_path / "script.py"}", line 5, in <module>'
    assert "run.py" not in done.stderr and "runpy" not in done.stderr
    assert lines[-1].startswith("RuntimeError: matmul")

    text = "import torch\ntorch.fft\n"
    (tmp_path / "script.py").write_text(text)
    for command in (("-m", "fireseed.run"), ("-m", "fireseed", "run")):
        lines = execute(*command, tmp_path / "script.py").stderr.splitlines()
        assert lines[1] == f'  File "{tmp_path / "script.py"}", line 2, in <module>'
        assert lines[-1].startswith("fireseed.MissingError: fireseed has no torch.fft: complex tensors")

    done = script("def f(:\n    pass\n", whole=True)
    assert done.returncode == 1 and done.stderr.startswith(f'  File "{tmp_path / "script.py"}", line 1')
    assert done.stderr.splitlines()[-1].startswith("SyntaxError")


def test_exit_status(script):
    assert script("import sys; sys.exit(3)", whole=True).returncode == 3
    done = script("raise SystemExit('no data')", whole=True)
    assert done.returncode == 1 and done.stderr == "no data\n"
    assert script("raise KeyboardInterrupt", whole=True).returncode in (-2, 130)
    assert script("import atexit; atexit.register(print, 'bye')") == "bye\n"


def test_command_line(tmp_path):
    done = execute("-m", "fireseed.run")
    assert done.returncode == 2 and "usage: python -m fireseed.run script.py" in done.stderr
    assert execute("-m", "fireseed.run", "--help").returncode == 0
    done = execute("-m", "fireseed.run", tmp_path / "none.py")
    assert done.returncode == 2 and "can't open file" in done.stderr and "Errno 2" in done.stderr
    assert "unknown option --fast" in execute("-m", "fireseed.run", "--fast", "x.py").stderr
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "__main__.py").write_text("import sys, torch\nfrom . import other\nprint(sys.argv[1:], __package__)")
    (tmp_path / "pack" / "other.py").write_text("from torch import nn\n")
    done = execute("-m", "fireseed.run", "-m", "pack", "x", cwd=tmp_path)
    assert done.stdout == "['x'] pack\n", done.stderr
    done = execute("-m", "fireseed.run", "-m", "nowhere", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == "fireseed.run: No module named nowhere\n"


def test_processes_of_the_script_see_fireseed_too(script):
    out = script("""
        import subprocess, sys
        import torch
        import torch.multiprocessing as mp
        def work(rank, offset, queue):
            import torch.nn
            queue.put((rank, float(torch.ones(3).sum()) + offset, torch.nn.__name__))
        if __name__ == "__main__":
            context = mp.get_context("spawn")
            queue = context.Queue()
            mp.spawn(work, args=(10, queue), nprocs=2)
            print(sorted(queue.get() for _ in range(2)))
            code = "import torch.nn.functional as F; print(F.__name__)"
            print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    """)
    assert out.splitlines()[:2] == ["[(0, 13.0, 'fireseed.nn'), (1, 13.0, 'fireseed.nn')]", "fireseed.nn.functional"]


def test_spawn_brings_errors_home(script):
    done = script("""
        import torch.multiprocessing as mp
        def work(rank):
            if rank == 1:
                raise KeyError("the reason")
        if __name__ == "__main__":
            try:
                mp.spawn(work, nprocs=2)
            except mp.ProcessRaisedException as error:
                print(error.error_index, error)
    """)
    assert done.startswith("1") and "KeyError: 'the reason'" in done


MISSING = [
    ("import torch.fft", ModuleNotFoundError, "fireseed has no torch.fft: complex tensors are not part of fireseed"),
    ("from torch import fft", ModuleNotFoundError, "fireseed has no torch.fft: complex tensors"),
    ("from torch.sparse import mm", ModuleNotFoundError, "fireseed has no torch.sparse: sparse tensors"),
    ("import torchaudio", ModuleNotFoundError, "torchaudio is built on PyTorch's C++ library"),
    ("import torchvision.models", ModuleNotFoundError, "fireseed has no torchvision.models: write the model"),
    ("from torchvision import models", ModuleNotFoundError, "fireseed has no torchvision.models: write the model"),
    ("import torchvision; torchvision.ops", AttributeError, "fireseed has no torchvision.ops: write it with torch"),
    ("torch.sparse_coo_tensor", NotImplementedError, "use dense tensors"),
    ("torch.sparse_coo_tensor", AttributeError, "fireseed has no torch.sparse_coo_tensor: sparse tensors are not"),
    ("torch.ones(2).to_sparse()", NotImplementedError, "fireseed has no Tensor.to_sparse: sparse tensors"),
    ("torch.nn.Linea", AttributeError, "fireseed has no torch.nn.Linea"),
    ("torch.optim.SparseAdam", AttributeError, "fireseed has no torch.optim.SparseAdam: sparse tensors"),
    ("torch.nn.functional.nothing", AttributeError, "fireseed has no torch.nn.functional.nothing"),
]


def test_missing_names_say_so(script):
    lines = "".join(f"check({code!r}, {error.__name__}, {text!r})\n" for code, error, text in MISSING)
    script("import torch\ndef check(code, error, text):\n    try:\n        exec(code)\n    except error as e:\n"
           "        assert text in str(e), str(e)\n    else:\n        raise AssertionError(code)\n" + lines +
           "assert not hasattr(torch, 'fft') and not hasattr(torch.ones(2), 'to_sparse')\n"
           "assert not hasattr(torch, 'complex64') and getattr(torch, 'nope', 1) == 1\n")


def test_torchvision_is_the_data_sets(script):
    script("""
        import fireseed, torch, torchvision
        import torchvision.transforms as transforms
        from torchvision import datasets
        from torchvision.transforms import functional as TF
        from torchvision.transforms.v2 import Normalize
        from torchvision.utils import make_grid, save_image
        assert datasets is fireseed.datasets and transforms is fireseed.datasets.transforms is torchvision.transforms
        assert TF is transforms.functional and Normalize is transforms.Normalize and torchvision.__version__ > "0.2"
        x = torch.arange(5 * 6).float().reshape(5, 1, 2, 3)
        grid = make_grid(x, nrow=2, padding=1, pad_value=-1)
        assert grid.shape == (3, 10, 9) and grid[0, 0].eq(-1).all() and grid[1, 4:6, 5:8].equal(x[3, 0])
        assert make_grid(x, normalize=True).max() == 1 and make_grid(list(x[:1])).shape == (3, 2, 3)
        save_image(x / 30, "grid.png")
        from PIL import Image
        assert Image.open("grid.png").size == (5 * 5 + 2, 6)
    """)


def test_einops_works_on_it(script):
    pytest.importorskip("einops")
    script("""
        import torch
        from einops import rearrange, reduce, repeat
        from einops.layers.torch import Rearrange
        x = torch.arange(24.).reshape(2, 3, 4).requires_grad_()
        y = rearrange(x, "b (h w) c -> b c h w", h=3)
        assert y.shape == (2, 4, 3, 1) and y[1, 2, 1, 0] == x[1, 1, 2]
        assert reduce(x, "b n c -> b c", "mean").allclose(x.mean(1)) and repeat(x, "b n c -> b n c k", k=2).shape[-1] == 2
        net = torch.nn.Sequential(Rearrange("b n c -> b (n c)"), torch.nn.Linear(12, 1))
        net(x).sum().backward()
        assert x.grad.shape == x.shape
    """)


def test_missing_name_of_a_from_import(script):
    done = script("from torch.nn.functional import relu, scaled_mm\n", whole=True)
    assert done.stderr.splitlines()[-1].startswith("ImportError: fireseed has no torch.nn.functional.scaled_mm")


def test_as_torch_in_code(tmp_path):
    code = "import fireseed; t = fireseed.as_torch(); import torch, torch.nn as nn; " \
           "assert torch is t is fireseed.as_torch() and nn is fireseed.nn; print(torch.__version__)"
    done = execute("-c", code)
    assert done.stdout == f"2.13.0+fireseed.{fireseed.version.__version__}\n", done.stderr
    (tmp_path / "torch.py").write_text("")
    done = execute("-c", "import torch, fireseed; fireseed.as_torch()", cwd=tmp_path)
    assert "RuntimeError: as_torch(): PyTorch itself is already imported" in done.stderr


def test_version_compares_as_a_version():
    v = TorchVersion("2.13.0+fireseed.0.1.0")
    assert v > "2.9" and v >= "1.8.0" and v < "10.0" and v == "2.13" and v != "2.12" and v >= (2, 1) and v < (3,)
    assert not v < "2.4" and v.split(".")[0] == "2" and v.startswith("2.13") and isinstance(v, str)
    assert v == "2.13.0+fireseed.0.1.0" and hash(v) == hash(str(v)) and v != "nightly"
    assert tuple(int(part) for part in v.split("+")[0].split(".")) == (2, 13, 0)


def test_every_lazy_module_is_there():
    for name in fireseed._MODULES:
        assert getattr(fireseed, name).__name__ == f"fireseed.{name}"
