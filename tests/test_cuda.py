"""Tensors on CUDA: moving, devices, errors, memory. Runs where fireseed.cuda.is_available(): on a GPU, or with the emulated plugin (make test-cuda-emu)."""
import os
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


@needs_cuda
def test_values_come_to_the_host_only_where_asked():
    x = lib.tensor(3.5).cuda()
    assert x.item() == 3.5 and float(x) == 3.5 and int(x) == 3 and bool(x)

    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match="cuda"):
        np.asarray(lib.ones(3).cuda())
    assert lib.ones(3).cuda().numpy(force=True).tolist() == [1.0, 1.0, 1.0]


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
