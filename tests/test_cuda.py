"""Tensors on CUDA: moving, devices, errors, memory. Runs where fireseed.cuda.is_available(): on a GPU, or with the emulated plugin (make test-cuda-emu)."""
import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from under_test import IS_FIRESEED, lib

needs_cuda = pytest.mark.skipif(not lib.cuda.is_available(), reason="no CUDA device and no emulated plugin")
needs_fireseed = pytest.mark.skipif(not IS_FIRESEED, reason="fireseed's own names or texts")


def run(code, **env):
    """What a fresh interpreter prints."""
    r = subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    return r.stdout.strip()


@needs_fireseed
def test_without_a_device_the_reason_is_told():
    code = ("import fireseed as t\nprint(t.cuda.is_available(), t.cuda.device_count())\nprint(t.cuda.unavailable_reason())\n"
            "try: t.ones(3, device='cuda')\nexcept RuntimeError as e: print(e)")
    out = run(code, FIRESEED_CUDA_PLUGIN="/nowhere/plugin.so").splitlines()
    assert out[0] == "False 0"
    assert "/nowhere/plugin.so" in out[1]
    assert "CUDA is not available" in out[2] and "device='cpu'" in out[2]


@needs_fireseed
def test_a_library_that_is_no_plugin_is_refused():
    lib_path = os.path.join(os.path.dirname(lib._C.__file__), "libfireseed.so")
    out = run("import fireseed as t\nprint(t.cuda.unavailable_reason())", FIRESEED_CUDA_PLUGIN=lib_path)
    assert "no CUDA plugin of fireseed" in out


@needs_fireseed
def test_import_does_not_open_the_plugin():
    assert run("import fireseed\nprint('libfireseed_cuda' in open('/proc/self/maps').read())") == "False"


@needs_cuda
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_there_and_back(dtype):
    x = lib.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(lib, dtype))
    y = x.to("cuda")
    assert y.is_cuda and y.device == lib.device("cuda", 0) and y.dtype == x.dtype and y.shape == x.shape
    assert y.cpu().tolist() == x.tolist() == y.tolist()
    assert y.t().cpu().tolist() == x.t().tolist()


@needs_cuda
@pytest.mark.parametrize("to", ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"])
@pytest.mark.parametrize("of", ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_casts_agree_with_the_cpu(of, to):
    x = lib.tensor([0.0, 1.0, -1.0, 2.75, 100.0, 3.0, -3.5, 127.0] * 5).to(getattr(lib, of))
    want = x.to(getattr(lib, to))
    assert x.cuda().to(getattr(lib, to)).cpu().tolist() == want.tolist()
    assert x[::3].cuda().to(getattr(lib, to)).tolist() == want[::3].tolist()
    assert x.cuda()[::3].to(getattr(lib, to)).tolist() == want[::3].tolist()


@needs_cuda
def test_copies_take_any_layout():
    x = lib.arange(24.0).reshape(2, 3, 4)
    y = lib.zeros(2, 3, 4).cuda()
    y.permute(2, 0, 1).copy_(x.permute(2, 0, 1))
    assert y.tolist() == x.tolist()
    host = lib.zeros(4, 3, 2)
    host.permute(2, 1, 0).copy_(y)
    assert host.permute(2, 1, 0).tolist() == x.tolist()
    y[:, 1].copy_(lib.tensor([7.0, 8.0, 9.0, 10.0], dtype=lib.float64))
    assert y.cpu()[:, 1].tolist() == [[7.0, 8.0, 9.0, 10.0]] * 2
    z = x.cuda().permute(0, 2, 1)
    assert z.cpu().tolist() == x.permute(0, 2, 1).tolist()
    assert z.contiguous().tolist() == x.permute(0, 2, 1).tolist()
    assert lib.zeros(0, 3).cuda().cpu().shape == (0, 3)


@needs_cuda
def test_fills_and_creation():
    assert lib.full((3, 2), 2.5, device="cuda").tolist() == [[2.5, 2.5]] * 3
    assert lib.zeros(5, device="cuda").cpu().tolist() == [0.0] * 5
    assert lib.ones(2, 2, dtype=lib.int64, device="cuda:0").tolist() == [[1, 1], [1, 1]]
    x = lib.zeros(4, 5, device="cuda")
    x[1:3, ::2].fill_(3)
    assert x.cpu()[1].tolist() == [3.0, 0.0, 3.0, 0.0, 3.0]
    assert lib.tensor([1, 2], device="cuda").is_cuda
    assert lib.as_tensor(np.arange(3), device="cuda").tolist() == [0, 1, 2]
    assert x.new_zeros(2).is_cuda and x.new_full((2,), 1.0, device="cpu").device.type == "cpu"
    assert lib.zeros_like(x).is_cuda and lib.ones_like(x, device="cpu").device.type == "cpu"
    assert lib.ones_like(lib.zeros(2), device="cuda").tolist() == [1.0, 1.0]


@needs_cuda
def test_values_come_to_the_host_only_where_asked():
    x = lib.tensor(3.5).cuda()
    assert x.item() == 3.5 and float(x) == 3.5 and int(x) == 3 and bool(x)
    assert f"{x:.2f}" == "3.50"
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match="cuda"):
        np.asarray(lib.ones(3).cuda())
    assert lib.ones(3).cuda().numpy(force=True).tolist() == [1.0, 1.0, 1.0]


@needs_cuda
def test_printing_names_the_device():
    text = repr(lib.tensor([1.0, 2.0]).cuda())
    assert text == "tensor([1., 2.], device='cuda:0')"
    assert "device='cuda:0'" in repr(lib.tensor(3).cuda())


@needs_cuda
def test_gradients_cross_devices():
    w = lib.ones(3, requires_grad=True)
    y = w.to("cuda").double()
    y.backward(lib.tensor([1.0, 2.0, 3.0], dtype=lib.float64).cuda())
    assert w.grad.device.type == "cpu" and w.grad.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(RuntimeError, match="cuda:0"):
        w.cuda().backward(lib.ones(3))


@needs_cuda
def test_mixed_devices_are_an_error():
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device.*cuda:0.*cpu"):
        lib.ones(3).cuda() + lib.ones(3)


@needs_cuda
def test_a_device_that_does_not_exist():
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        lib.ones(3, device="cuda:63")
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        lib.cuda.set_device(63)


@needs_cuda
def test_copy_pickle_deepcopy():
    x = lib.tensor([[1.0, 2.0], [3.0, 4.0]]).cuda()
    y = copy.deepcopy(x)
    assert y.is_cuda and y.data_ptr() != x.data_ptr() and y.tolist() == x.tolist()
    z = pickle.loads(pickle.dumps(x.t()))
    assert z.is_cuda and z.tolist() == x.t().tolist()


@needs_cuda
def test_memory_is_counted_and_reused():
    lib.cuda.empty_cache()
    before = lib.cuda.memory_allocated()
    lib.cuda.reset_peak_memory_stats()
    x = lib.empty(1000, 1000, device="cuda")
    assert lib.cuda.memory_allocated() - before >= 4_000_000
    address = x.data_ptr()
    del x
    assert lib.cuda.memory_allocated() == before
    assert lib.cuda.max_memory_allocated() - before >= 4_000_000
    assert lib.empty(1000, 1000, device="cuda").data_ptr() == address
    assert lib.cuda.memory_reserved() >= 4_000_000
    assert "in tensors" in lib.cuda.memory_summary() or not IS_FIRESEED
    lib.cuda.empty_cache()


@needs_cuda
def test_out_of_memory_names_what_is_large_and_the_program_goes_on():
    keep = lib.empty(300, 1000, device="cuda")
    with pytest.raises(lib.cuda.OutOfMemoryError, match="CUDA out of memory. Tried to allocate") as error:
        lib.empty(1 << 45, device="cuda")
    assert isinstance(error.value, RuntimeError) and lib.OutOfMemoryError is lib.cuda.OutOfMemoryError
    if IS_FIRESEED:
        assert "[300, 1000]" in str(error.value)
    assert lib.ones(3, device="cuda").tolist() == [1.0, 1.0, 1.0]
    del keep


@needs_cuda
def test_pinned_memory():
    x = lib.arange(6.0).pin_memory()
    assert x.is_pinned() and not lib.ones(2).is_pinned()
    y = x.to("cuda", non_blocking=True)
    lib.cuda.synchronize()
    assert y.tolist() == x.tolist()
    back = lib.empty(6).pin_memory()
    back.copy_(y, non_blocking=True)
    lib.cuda.synchronize()
    assert back.tolist() == x.tolist()
    with pytest.raises(RuntimeError, match="cannot pin"):
        y.pin_memory()


@needs_cuda
def test_streams_and_events():
    s = lib.cuda.Stream()
    assert s != lib.cuda.current_stream()
    start, end = lib.cuda.Event(enable_timing=True), lib.cuda.Event(enable_timing=True)
    with lib.cuda.stream(s):
        assert lib.cuda.current_stream() == s
        start.record()
        x = lib.full((100,), 2.0, device="cuda")
        end.record()
    assert lib.cuda.current_stream() == lib.cuda.default_stream()
    lib.cuda.current_stream().wait_stream(s)
    x.record_stream(lib.cuda.current_stream())
    end.synchronize()
    assert end.query() and start.elapsed_time(end) >= 0 and s.query()
    assert x.tolist() == [2.0] * 100
    with pytest.raises(ValueError, match="enable_timing"):
        lib.cuda.Event().elapsed_time(end)


@needs_cuda
def test_device_questions():
    assert lib.cuda.device_count() >= 1 and lib.cuda.current_device() == 0 and lib.cuda.is_initialized()
    p = lib.cuda.get_device_properties(0)
    assert lib.cuda.get_device_name() == p.name and lib.cuda.get_device_capability() == (p.major, p.minor)
    assert p.total_memory > 0 and p.multi_processor_count > 0
    with lib.cuda.device(0):
        assert lib.cuda.current_device() == 0
    free, total = lib.cuda.mem_get_info()
    assert 0 < free <= total


@needs_fireseed
@needs_cuda
def test_legacy_tensor_types():
    x = lib.ones(2, device="cuda")
    assert x.type().endswith(".cuda.FloatTensor") and isinstance(x, lib.cuda.FloatTensor)
    assert not isinstance(x.cpu(), lib.cuda.FloatTensor) and not isinstance(x, lib.cuda.LongTensor)
    for kind in (lib.cuda.LongTensor, "torch.cuda.LongTensor"):
        for source in (x, x.cpu()):
            moved = source.type(kind)
            assert moved.is_cuda and moved.dtype is lib.int64 and moved.tolist() == [1, 1]
    back = x.type(lib.FloatTensor)
    assert not back.is_cuda and "cuda" not in back.type()
    made = lib.cuda.FloatTensor([1, 2])
    assert made.is_cuda and made.tolist() == [1, 2] and lib.cuda.FloatTensor(2, 3).shape == (2, 3)


@needs_cuda
def test_dlpack_and_the_array_interface():
    x = lib.arange(6.0).reshape(2, 3).cuda()
    assert tuple(int(i) for i in x.__dlpack_device__()) == (2, 0)
    y = lib.from_dlpack(x.t())
    assert y.is_cuda and y.data_ptr() == x.data_ptr() and y.tolist() == x.t().tolist()
    face = x.t().__cuda_array_interface__
    assert face["shape"] == (3, 2) and face["typestr"] == "<f4" and face["data"] == (x.data_ptr(), False)
    assert face["strides"] == (4, 12)
    with pytest.raises(AttributeError, match="__cuda_array_interface__"):
        _ = lib.ones(2).__cuda_array_interface__


@needs_cuda
def test_default_device():
    with lib.device("cuda"):
        assert lib.zeros(2).is_cuda and lib.tensor([1.0]).is_cuda and lib.full((2,), 1).is_cuda
        assert not lib.zeros(2, device="cpu").is_cuda
        with lib.device("cpu"):
            assert not lib.ones(1).is_cuda
    assert not lib.zeros(2).is_cuda
    lib.set_default_device("cuda")
    try:
        assert lib.zeros(2).is_cuda and lib.get_default_device().type == "cuda"
    finally:
        lib.set_default_device("cpu")
    assert lib.get_default_device().type == "cpu"


@needs_cuda
def test_generators_belong_to_devices():
    g = lib.Generator(device="cuda")
    assert g.device.type == "cuda"
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found 'cuda'"):
        lib.rand(3, generator=g)
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        lib.empty(3, device="cuda").uniform_(generator=lib.Generator())
    lib.cuda.manual_seed(5)
    assert lib.cuda.initial_seed() == 5
    state = lib.cuda.get_rng_state()
    assert state.dtype == lib.uint8 and state.numel() == 16
    lib.manual_seed(7)
    assert lib.cuda.initial_seed() == 7
    lib.cuda.set_rng_state(state)
    assert lib.cuda.initial_seed() == 5
    with lib.random.fork_rng():
        lib.manual_seed(9)
    assert lib.cuda.initial_seed() == 5


@needs_cuda
def test_modules_move():
    m = lib.nn.Linear(3, 2)
    want = m.weight.tolist()
    weight = m.weight
    m.cuda()
    assert m.weight is weight and m.weight.is_cuda and m.weight.requires_grad and m.weight.tolist() == want
    state = m.state_dict()
    assert state["weight"].is_cuda
    m.to("cpu")
    assert not m.weight.is_cuda and m.weight.tolist() == want
    m.to(device="cuda", dtype=lib.float64)
    assert m.bias.is_cuda and m.bias.dtype == lib.float64
    m.load_state_dict({k: v.cpu() for k, v in state.items()})
    assert m.weight.is_cuda


@needs_cuda
@needs_fireseed
def test_an_op_without_a_kernel_says_so():
    names = [n for n in ("cholesky", "grid_sample", "ctc_loss", "median_dim") if not lib._C._cuda_has_kernel(n)]
    if not names:
        pytest.skip("every op has a kernel")
    call = {"cholesky": lambda x: lib.linalg.cholesky(x), "median_dim": lambda x: x.median(0)}.get(names[0])
    if call is None:
        pytest.skip(f"no call for {names[0]}")
    with pytest.raises(NotImplementedError, match=f"{names[0]}.*cuda:0"):
        call(lib.eye(2).cuda())


@needs_cuda
@needs_fireseed
def test_values_that_the_cpu_reads_must_lie_there():
    """The addresses of a GPU mean nothing to the CPU."""
    state = lib.get_rng_state()
    with pytest.raises(TypeError, match="CPU"):
        lib.Generator().set_state(state.to("cuda"))
    with pytest.raises(TypeError, match="CPU"):
        lib.set_rng_state(state.to("cuda"))


@needs_cuda
def test_float32_products_round_to_tf32_only_where_allowed():
    x = lib.full((16, 16), 1 + 2.0 ** -13, device="cuda")
    assert lib.equal(x @ lib.eye(16, device="cuda"), x)
    try:
        lib.set_float32_matmul_precision("high")
        assert lib.equal(x @ lib.eye(16, device="cuda"), lib.ones_like(x))
        lib.backends.cuda.matmul.allow_tf32 = False
        assert lib.equal(x @ lib.eye(16, device="cuda"), x)
    finally:
        lib.set_float32_matmul_precision("highest")
