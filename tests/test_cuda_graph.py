"""CUDA graphs: what a replay computes, its memory and random numbers, what a capture refuses."""
import gc

import pytest
from under_test import IS_FIRESEED, lib

pytestmark = pytest.mark.skipif(not lib.cuda.is_available(), reason="no CUDA device and no emulated plugin")
needs_fireseed = pytest.mark.skipif(not IS_FIRESEED, reason="fireseed's own names or texts")


def test_a_replay_sees_new_inputs():
    x = lib.zeros(4, device="cuda")
    g = lib.cuda.CUDAGraph()
    with lib.cuda.graph(g):
        y = (x * 2 + 1).sum()
    for value in (1.0, 3.0):
        x.fill_(value)
        g.replay()
        assert y.item() == 4 * (2 * value + 1)


def test_replays_draw_new_numbers_though_memory_is_reused():
    """The counter of the draws must not lie in memory that the graph itself writes before it draws."""
    x = lib.ones(100, device="cuda")
    g = lib.cuda.CUDAGraph()
    with lib.cuda.graph(g):
        for k in range(4):  # leaves free blocks behind
            s = (x * 3 + k).sum()
        t = x * s
        del t, s
        y = lib.rand(100, device="cuda")
        z = lib.rand(100, device="cuda")
    seen = []
    for _ in range(3):
        g.replay()
        seen += [y.cpu(), z.cpu()]
    for i, a in enumerate(seen):
        assert float(a.min()) >= 0 and float(a.max()) < 1
        for b in seen[i + 1:]:
            assert not lib.equal(a, b)


def test_numbers_in_a_graph_outlive_the_table_of_numbers():
    x = lib.ones(8, device="cuda")
    number = lib.tensor(0.25)
    lib.atan2(x, number)  # now known outside
    g = lib.cuda.CUDAGraph()
    stream = lib.cuda.Stream()
    stream.wait_stream(lib.cuda.current_stream())
    with lib.cuda.stream(stream):
        lib.atan2(x, number)
        stream.synchronize()
    with lib.cuda.graph(g, stream=stream):
        y = lib.atan2(x, number)
    with lib.cuda.stream(stream):
        for k in range(1100):  # the table is emptied, its memory used again
            lib.atan2(x, lib.tensor(2.0 + k))
        kept = [lib.full((), 7.0, device="cuda") for _ in range(2000)]
        stream.synchronize()
    g.replay()
    lib.testing.assert_close(y.cpu(), lib.atan2(lib.ones(8), number))
    del kept


@needs_fireseed
def test_a_capture_refuses_what_waits_for_the_device():
    x = lib.ones(3, device="cuda")
    for step in (lambda: x.sum().item(), lambda: x.cpu(), lambda: lib.tensor([1.0, 2.0]).to("cuda")):
        g = lib.cuda.CUDAGraph()
        with pytest.raises(RuntimeError, match="capture"), lib.cuda.graph(g):
            step()
        assert (x + 1).sum().item() == 6  # and the device goes on


def test_pinned_memory_is_copied_at_each_replay():
    source = lib.tensor([1.0, 2.0]).pin_memory()
    g = lib.cuda.CUDAGraph()
    with lib.cuda.graph(g):
        lib.ones(3).pin_memory()  # asked for and given back during the capture
        y = source.to("cuda", non_blocking=True) * 2
    for value in (1.0, 5.0):
        source.fill_(value)
        g.replay()
        lib.cuda.synchronize()
        assert y.tolist() == [2 * value, 2 * value]


@needs_fireseed
def test_the_memory_of_a_forgotten_graph_comes_back():
    lib.cuda.empty_cache()
    before = lib.cuda.memory_reserved()
    x = lib.ones(1 << 20, device="cuda")
    g = lib.cuda.CUDAGraph()
    with lib.cuda.graph(g):
        y = x * 2 + 1
    g.replay()
    del g, x, y
    gc.collect()
    lib.cuda.synchronize()
    lib.cuda.empty_cache()
    assert lib.cuda.memory_reserved() <= before
