"""CUDA graphs: work recorded once and replayed by a single launch."""
import gc

from .. import _C


def graph_pool_handle():
    """A memory pool that several graphs may share, if they are replayed in the order of their capture."""
    return 0, _C._cuda_new_pool()


class CUDAGraph:
    """A recorded piece of work. Tensors used in it keep their addresses: copy new inputs into them before replay().

    Inside the capture nothing may wait for the device (no .item(), .cpu(), printing). Random numbers differ from replay
    to replay.
    """

    def __init__(self, keep_graph=False):
        self._handle, self._pool, self._device, self._own_pool = None, None, None, False
        self._free, self._release = _C._cuda_free_graph, _C._cuda_release_pool

    def capture_begin(self, pool=None, capture_error_mode="global"):
        """Starts recording the current stream, which must not be the default one."""
        from . import current_stream, default_stream
        if self._handle is not None:
            raise RuntimeError("CUDAGraph: this graph was captured already; call reset() first")
        if current_stream() == default_stream():
            raise RuntimeError("CUDA graphs must be captured on a non-default stream. (However, after capture, it's ok to "
                               "replay them on the default stream.)")
        self._device = _C._cuda_current_device()
        self._pool = graph_pool_handle() if pool is None else pool
        self._own_pool = pool is None
        self._handle = _C._cuda_begin_capture(self._device, self._pool[1])

    def capture_end(self):
        """Ends the recording."""
        if self._handle is None:
            raise RuntimeError("CUDAGraph.capture_end: capture_begin was not called")
        try:
            _C._cuda_end_capture(self._handle)
        except BaseException:
            self.reset()
            raise

    def replay(self):
        """Runs the recorded work on the current stream."""
        if self._handle is None:
            raise RuntimeError("CUDAGraph.replay: nothing was captured")
        _C._cuda_replay(self._handle)

    def reset(self):
        """Forgets the recording and frees its memory."""
        if self._handle is not None:
            self._free(self._handle)
            self._handle = None
            if self._own_pool:
                self._release(self._device, self._pool[1])

    def pool(self):
        """The handle of the graph's memory pool, for capture_begin of another graph."""
        return self._pool

    def __del__(self):
        if getattr(self, "_handle", None) is not None:
            self.reset()


class graph:
    """``with cuda.graph(g): …`` records the block into g, on a stream of its own."""

    default_capture_stream = None

    def __init__(self, cuda_graph, pool=None, stream=None, capture_error_mode="global"):
        from . import Stream
        from . import stream as stream_context
        if stream is None:
            if graph.default_capture_stream is None:
                graph.default_capture_stream = Stream()
            stream = graph.default_capture_stream
        self.cuda_graph, self._pool = cuda_graph, pool
        self.capture_stream, self._context = stream, stream_context(stream)

    def __enter__(self):
        from . import empty_cache, synchronize
        synchronize()
        gc.collect()
        empty_cache()
        self._context.__enter__()
        try:
            self.cuda_graph.capture_begin(self._pool)
        except BaseException:
            self._context.__exit__(None, None, None)
            raise

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.cuda_graph.capture_end()
            else:
                self.cuda_graph.reset()
        finally:
            self._context.__exit__(kind, error, trace)
        return False


def make_graphed_callables(callables, sample_args, num_warmup_iters=3, allow_unused_input=False, pool=None):
    """Graphs of whole modules with their backward are not offered: capture the step with cuda.graph instead."""
    raise NotImplementedError("cuda.make_graphed_callables: capture the whole step with fireseed.cuda.graph")
