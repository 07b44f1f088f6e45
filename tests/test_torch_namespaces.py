"""PyTorch's smaller namespaces: accelerator, backends, benchmark, distributed, hub, jit, multiprocessing, and odd methods."""
import hashlib
import os
import pickle

import fireseed as torch
import numpy as np
import pytest
from fireseed import distributed as dist
from fireseed import nn


@pytest.fixture
def world(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/start", rank=0, world_size=1)
    yield dist
    if dist.is_initialized():
        dist.destroy_process_group()


def test_collectives_of_one(world):
    x, out = torch.arange(4.0), torch.zeros(4)
    assert dist.get_rank() == 0 and dist.get_world_size() == 1 and dist.get_backend() == "gloo"
    assert dist.all_reduce(x) is None and dist.all_reduce(x, op=dist.ReduceOp.MAX, async_op=True).wait()
    for call in (lambda: dist.all_gather([out], x), lambda: dist.all_gather_into_tensor(out.view(1, 4), x),
                 lambda: dist.reduce_scatter(out, [x]), lambda: dist.reduce_scatter_tensor(out, x),
                 lambda: dist.scatter(out, [x], src=0), lambda: dist.gather(x, [out], dst=0),
                 lambda: dist.all_to_all([out], [x]), lambda: dist.all_to_all_single(out, x)):
        out.zero_()
        call()
        assert out.tolist() == [0, 1, 2, 3]
    objects = [None]
    dist.all_gather_object(objects, {"a": 1})
    assert objects == [{"a": 1}]
    dist.broadcast_object_list(objects, src=0)
    assert dist.get_process_group_ranks(dist.group.WORLD) == [0] and dist.new_group([0]).size() == 1
    for call, error in ((lambda: dist.broadcast(x, src=1), "rank 1"), (lambda: dist.all_reduce(x, op="most"), "unknown op"),
                        (lambda: dist.all_gather([out, out], x), "got 2"), (lambda: dist.new_group([0, 1]), "ranks"),
                        (lambda: dist.init_process_group("gloo"), "twice")):
        with pytest.raises(ValueError, match=error):
            call()
    with pytest.raises(TypeError, match="expected a tensor, got list"):
        dist.all_reduce([1])
    with pytest.raises(RuntimeError, match="nobody to send to"):
        dist.send(x, 0)


def test_starting_a_world(monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="WORLD_SIZE"):
        dist.init_process_group("nccl")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(RuntimeError, match="a world of 4 processes"):
        dist.init_process_group("nccl")
    with pytest.raises(ValueError, match="unknown backend 'smoke'"):
        dist.init_process_group("smoke")
    with pytest.raises(ValueError, match="has not been initialized"):
        dist.get_rank()
    monkeypatch.setenv("WORLD_SIZE", "1")
    dist.init_process_group("cpu:gloo,cuda:nccl")
    dist.destroy_process_group()
    assert not dist.is_initialized() and dist.group.WORLD is None


def test_distributed_data_parallel(world):
    net = nn.Linear(3, 2)
    ddp = nn.parallel.DistributedDataParallel(net, device_ids=None, find_unused_parameters=True)
    x = torch.ones(4, 3)
    with ddp.no_sync():
        ddp(x).sum().backward()
    assert ddp.module is net and list(ddp.state_dict()) == ["module.weight", "module.bias"]
    assert net.weight.grad.tolist() == [[4.0] * 3] * 2 and ddp(x).equal(net(x))
    with pytest.raises(RuntimeError, match="not needed"):
        nn.parallel.DistributedDataParallel(nn.ReLU())
    dist.destroy_process_group()
    with pytest.raises(ValueError, match="init_process_group"):
        nn.parallel.DistributedDataParallel(net)


def test_backends_and_accelerator():
    b = torch.backends
    with b.cudnn.flags(enabled=False, deterministic=True):
        assert not b.cudnn.enabled and b.cudnn.deterministic
    assert b.cudnn.enabled and not b.cudnn.deterministic and b.cudnn.version() is None
    b.cuda.matmul.allow_tf32 = True
    assert torch.get_float32_matmul_precision() == "high" and b.cuda.matmul.fp32_precision == "tf32"
    torch.set_float32_matmul_precision("highest")
    assert not b.cuda.matmul.allow_tf32
    b.cuda.enable_flash_sdp(False)
    with b.cuda.sdp_kernel(enable_math=False):
        assert b.cuda.flash_sdp_enabled() and not b.cuda.math_sdp_enabled()
    assert not b.cuda.flash_sdp_enabled()
    b.cuda.enable_flash_sdp(True)
    assert not b.mps.is_available() and not b.mkldnn.is_available()
    assert b.cpu.get_cpu_capability() in ("AVX512", "AVX2", "DEFAULT")
    assert torch.get_device_module("cpu") is torch.cpu and torch.cpu.device_count() == 1
    if not torch.cuda.is_available():
        assert torch.accelerator.current_accelerator() is None and torch.accelerator.device_count() == 0
        with pytest.raises(RuntimeError, match="none is available"):
            torch.accelerator.synchronize()
        with torch.accelerator.device_index(None):
            pass
    with nn.attention.sdpa_kernel([nn.attention.SDPBackend.MATH]), pytest.raises(TypeError, match="SDPBackend"):
        with nn.attention.sdpa_kernel("math"):
            pass


def test_jit_gives_things_back():
    calls = []

    def f(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x * 2

    assert torch.jit.script(f) is f and torch.jit.trace(f, torch.ones(2)) is f and calls == [1]
    net = nn.Linear(3, 2)
    assert torch.jit.trace(net, (torch.ones(1, 3),)) is net
    with pytest.raises(RuntimeError, match="mat1|linear|shape"):
        torch.jit.trace(net, torch.ones(1, 4))
    assert torch.jit.freeze(net.eval()) is net and torch.jit.wait(torch.jit.fork(f, torch.ones(1))).item() == 2
    with pytest.raises(RuntimeError, match="eval mode"):
        torch.jit.freeze(net.train())

    class Scripted(torch.jit.ScriptModule):
        @torch.jit.script_method
        def forward(self, x):
            return x + 1

        @torch.jit.ignore
        def other(self):
            return torch.jit.is_scripting()

    assert Scripted()(torch.ones(1)).item() == 2 and Scripted().other() is False
    assert torch.jit.isinstance([1], list[int]) and not torch.jit.isinstance({}, list[int])
    with pytest.raises(TypeError, match="got int"):
        torch.jit.script(3)
    with pytest.raises(AttributeError, match="torch.jit.save: programs have no representation but Python's"):
        torch.jit.save(net, "x")


def test_hub(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert torch.hub.get_dir() == str(tmp_path / "hub")
    torch.save({"x": torch.ones(2)}, str(tmp_path / "w.pt"))
    digest = hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    named = tmp_path / f"w-{digest[:8]}.pt"
    os.rename(tmp_path / "w.pt", named)
    for _ in range(2):  # the second time it is there
        assert torch.hub.load_state_dict_from_url(named.as_uri(), check_hash=True, progress=False)["x"].tolist() == [1, 1]
    assert capsys.readouterr().err.count("Downloading") == 1
    wrong = tmp_path / "w-00000000.pt"
    wrong.write_bytes(named.read_bytes())
    with pytest.raises(RuntimeError, match="invalid hash value"):
        torch.hub.load_state_dict_from_url(wrong.as_uri(), check_hash=True, progress=False)
    assert os.listdir(tmp_path / "hub" / "checkpoints") == [named.name]
    (tmp_path / "hubconf.py").write_text("def net(n=2):\n    'A layer.'\n    import fireseed\n    return fireseed.nn.Linear(n, 1)\n")
    assert torch.hub.load(str(tmp_path), "net", 3, source="local").in_features == 3
    assert torch.hub.list(str(tmp_path)) == ["net"] and torch.hub.help(str(tmp_path), "net") == "A layer."
    with pytest.raises(RuntimeError, match="Cannot find callable nothing"):
        torch.hub.load(str(tmp_path), "nothing", source="local")
    with pytest.raises(NotImplementedError, match="clone it"):
        torch.hub.load("pytorch/vision", "resnet18")


def test_benchmark_timer(capsys):
    B = torch.utils.benchmark
    threads = torch.get_num_threads()
    timer = B.Timer("x + x", setup="x = torch.ones(64)", label="add", sub_label="64", description="plain")
    m = timer.timeit(50)
    assert 0 < m.mean == m.median and m.number_per_run == 50 and "Time:" in repr(m) and "add: 64" in repr(m)
    many = timer.blocked_autorange(min_run_time=0.02)
    assert sum(many.raw_times) >= 0.02 and many.iqr >= 0 and pickle.loads(pickle.dumps(many)).median == many.median
    assert torch.get_num_threads() == threads
    B.Compare([m, B.Timer("y * 2", globals={"y": 3}, label="add", sub_label="int", description="other").timeit(10)]).print()
    out = capsys.readouterr().out
    assert "add" in out and "plain" in out and "other" in out and "Times are in" in out
    assert B.select_unit(3e-5) == ("us", 1e-6)
    with pytest.raises(ZeroDivisionError):
        B.Timer("1 / 0").timeit(1)
    with pytest.raises(NotImplementedError, match="Python"):
        B.Timer("x", language="c++")


def test_multiprocessing_has_the_standard_names():
    mp = torch.multiprocessing
    assert mp.cpu_count() > 0 and mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    with pytest.raises(ValueError, match="unknown strategy"):
        mp.set_sharing_strategy("telepathy")
    with pytest.raises(ValueError, match="start_method"):
        mp.spawn(print, start_method="fork")
    queue = mp.get_context("fork").SimpleQueue()
    queue.put(torch.arange(3))
    assert queue.get().tolist() == [0, 1, 2]


def _die(rank):
    os._exit(7)


def test_spawn_reports_exit_codes():
    mp = torch.multiprocessing
    with pytest.raises(mp.ProcessExitedException, match="exit code 7") as error:
        mp.start_processes(_die, nprocs=1, start_method="fork")
    assert error.value.exit_code == 7 and error.value.error_index == 0


def test_odd_methods():
    x = torch.zeros(3, 3)
    assert x.fill_diagonal_(2) is x and x.trace().item() == 6
    tall = torch.zeros(7, 3).fill_diagonal_(1, wrap=True)
    assert tall[:, 0].tolist() == [1, 0, 0, 0, 1, 0, 0] and tall.sum().item() == 6
    with pytest.raises(RuntimeError, match="larger than 1"):
        torch.zeros(3).fill_diagonal_(1)
    assert torch.arange(3.0).apply_(lambda a: a * 2).tolist() == [0, 2, 4]
    assert torch.arange(3.0).map_(torch.ones(3), lambda a, b: a + b).tolist() == [1, 2, 3]
    y = torch.ones(2, dtype=torch.float64)
    assert y.new([1, 2]).dtype is y.new(2, 3).dtype is torch.float64 and y.new(2, 3).shape == (2, 3)
    assert y.to_dense() is y and torch.is_signed(y) and torch.is_same_size(y, y + 1)
    assert torch.vander(torch.tensor([1, 2])).tolist() == [[1, 1], [2, 1]]
    assert torch.vander(torch.tensor([1, 2]), N=3, increasing=True).tolist() == [[1, 1, 1], [1, 2, 4]]
    assert torch.frobenius_norm(torch.tensor([3.0, 4.0])).item() == 5
    kind = type("Sub", (torch.Tensor,), {})
    assert type(y.as_subclass(kind)) is kind
    V = torch.autograd.Variable
    v = V(y, requires_grad=True)
    assert isinstance(v, V) and isinstance(y, V) and v.requires_grad and not y.requires_grad
    assert v.data_ptr() == y.data_ptr() and V().numel() == 0
    with pytest.raises(TypeError, match="has to be a tensor, but got list"):
        V([1])


def test_foreach():
    a, b = [torch.ones(2), torch.ones(3)], [torch.full((2,), 2.0), torch.full((3,), 3.0)]
    assert [t.tolist() for t in torch._foreach_add(a, b, alpha=2)] == [[5, 5], [7, 7, 7]]
    assert torch._foreach_mul_(a, [2, 3]) is None and a[1].tolist() == [3, 3, 3]
    torch._foreach_zero_(a)
    assert [t.item() for t in torch._foreach_norm(b)] == [pytest.approx(8**0.5), pytest.approx(27**0.5)]
    with pytest.raises(RuntimeError, match="same number of tensors, got 2 and 1"):
        torch._foreach_add(a, b[:1])
    with pytest.raises(AttributeError, match="torch._foreach_fly"):
        torch._foreach_fly(a)


def test_multivariate_normal():
    D = torch.distributions
    a = torch.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=torch.float64)
    loc = torch.tensor([1.0, -1.0], dtype=torch.float64)
    d = D.MultivariateNormal(loc, a)
    x = torch.tensor([[0.2, 0.1], [1.0, 2.0]], dtype=torch.float64)
    z = (x - loc).numpy()
    want = -0.5 * (np.einsum("ni,ij,nj->n", z, np.linalg.inv(a.numpy()), z) + np.log(np.linalg.det(2 * np.pi * a.numpy())))
    np.testing.assert_allclose(d.log_prob(x).numpy(), want, rtol=1e-12)
    for same in (D.MultivariateNormal(loc, precision_matrix=a.inverse()),
                 D.MultivariateNormal(loc, scale_tril=torch.linalg.cholesky(a)), d.expand((3,))):
        np.testing.assert_allclose(same.covariance_matrix.numpy(), np.broadcast_to(a.numpy(), same.covariance_matrix.shape))
        np.testing.assert_allclose(same.log_prob(x[0]).numpy(), np.broadcast_to(want[0], same.batch_shape))
    np.testing.assert_allclose(d.variance.numpy(), [2.0, 1.0])
    np.testing.assert_allclose(d.precision_matrix.numpy(), np.linalg.inv(a.numpy()))
    np.testing.assert_allclose(d.entropy().item(), 0.5 * np.log(np.linalg.det(2 * np.pi * np.e * a.numpy())))
    samples = d.sample((20000,)).numpy()
    np.testing.assert_allclose(np.cov(samples.T), a.numpy(), atol=0.06)
    assert D.kl_divergence(d, d).item() == pytest.approx(0, abs=1e-12)
    other = D.MultivariateNormal(loc + 1, torch.eye(2, dtype=torch.float64))
    inverse, shift = np.eye(2), np.ones(2)
    want = 0.5 * (np.trace(inverse @ a.numpy()) + shift @ shift - 2 - np.log(np.linalg.det(a.numpy())))
    assert D.kl_divergence(d, other).item() == pytest.approx(want)
    loc.requires_grad_()
    D.MultivariateNormal(loc, a).rsample().sum().backward()
    assert loc.grad.tolist() == [1, 1]
    with pytest.raises(ValueError, match="Exactly one"):
        D.MultivariateNormal(loc, a, scale_tril=a)
    with pytest.raises(ValueError, match="covariance_matrix"):
        D.MultivariateNormal(loc.detach(), -a)
    with pytest.raises(ValueError, match="at least one-dimensional"):
        D.MultivariateNormal(torch.tensor(1.0), a)


def test_pytree():
    from collections import namedtuple

    P = torch.utils._pytree
    Point = namedtuple("Point", "x y")
    tree = {"a": [1, (2, 3)], "b": Point(4, None)}
    leaves, spec = P.tree_flatten(tree)
    assert leaves == [1, 2, 3, 4, None] == P.tree_leaves(tree) and spec.num_leaves == 5
    assert P.tree_unflatten(leaves, spec) == tree and isinstance(P.tree_unflatten(leaves, spec)["b"], Point)
    assert P.tree_map_only(int, lambda v: v + 1, tree) == {"a": [2, (3, 4)], "b": Point(5, None)}
    assert P.tree_map(lambda a, b: a * b, [1, 2], [3, 4]) == [3, 8] and P.tree_any(lambda v: v == 3, tree)
    assert spec == P.tree_flatten({"a": [0, (0, 0)], "b": Point(0, 0)})[1] != P.tree_flatten([0])[1]
    with pytest.raises(ValueError, match="structure"):
        P.tree_map(max, [1], [1, 2])
    with pytest.raises(ValueError, match="4 leaves for a structure of 5"):
        P.tree_unflatten([1, 2, 3, 4], spec)


def test_legacy_types():
    x = torch.ones(2)
    assert x.type() == "fireseed.FloatTensor" and x.type(torch.LongTensor).type("torch.HalfTensor").dtype is torch.float16
    assert x.type(torch.float64).dtype is torch.float64 and x.type("FloatTensor") is not None
    assert isinstance(torch.cuda.FloatTensor, type) and not isinstance(x, torch.cuda.FloatTensor)
    if not torch.cuda.is_available():
        with pytest.raises(TypeError, match="torch.cuda.FloatTensor not available"):
            torch.cuda.FloatTensor([1.0])
        with pytest.raises(RuntimeError, match="CUDA"):
            x.type(torch.cuda.FloatTensor)
    with pytest.raises(ValueError, match="invalid type: 'torch.FlatTensor'"):
        x.type("torch.FlatTensor")
    with pytest.raises((TypeError, AttributeError)):
        x.type(3)
