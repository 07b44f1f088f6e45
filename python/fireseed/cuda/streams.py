"""Streams and events: order and timing of a GPU's work."""
import contextlib

from .. import _C


def _index(device):
    from . import _index as index
    return index(device, "Stream")


class Stream:
    """A queue of work on a GPU; work of different streams may overlap. priority < 0: preferred by the scheduler.

    Made from a pool of 32 a device and priority. A tensor made on one stream and used on another needs
    ``stream.wait_stream(other)``, and ``tensor.record_stream(stream)`` before it may be freed.
    """

    def __init__(self, device=None, priority=0, *, _handle=None):
        self.device_index = _index(device)
        self.priority = priority
        self.cuda_stream = _C._cuda_new_stream(self.device_index, priority) if _handle is None else _handle

    @property
    def device(self):
        """The stream's GPU."""
        return _C.device("cuda", self.device_index)

    @property
    def stream_id(self):
        """A number that tells streams apart."""
        return self.cuda_stream

    def wait_event(self, event):
        """Work submitted from here on waits for the event, on the GPU."""
        _C._cuda_stream_wait(self.cuda_stream, event._made("wait_event"))

    def wait_stream(self, stream):
        """Work submitted from here on waits for all that was submitted to `stream`, on the GPU."""
        self.wait_event(stream.record_event())

    def record_event(self, event=None):
        """Puts an event (a new one by default) behind all work submitted so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def query(self):
        """Is all submitted work done?"""
        return _C._cuda_stream_query(self.cuda_stream)

    def synchronize(self):
        """Waits until all submitted work is done."""
        _C._cuda_stream_synchronize(self.cuda_stream)

    def __eq__(self, other):
        return isinstance(other, Stream) and (self.cuda_stream, self.device_index) == (other.cuda_stream, other.device_index)

    def __hash__(self):
        return hash((self.cuda_stream, self.device_index))

    def __repr__(self):
        return f"<fireseed.cuda.Stream device=cuda:{self.device_index} cuda_stream={self.cuda_stream:#x}>"

    def __enter__(self):
        self._context = StreamContext(self)
        return self._context.__enter__() or self

    def __exit__(self, *error):
        return self._context.__exit__(*error)


class Event:
    """A mark in a stream: to wait for, or with enable_timing=True to measure time between two of them."""

    def __init__(self, enable_timing=False, blocking=False, interprocess=False, external=False):
        if interprocess:
            raise NotImplementedError("cuda.Event: interprocess=True is not supported")
        self._timing, self._blocking, self._handle = enable_timing, blocking, None
        self._free = _C._cuda_free_event

    def _made(self, what):
        if self._handle is None:
            raise RuntimeError(f"cuda.Event.{what}: the event was not recorded yet")
        return self._handle

    @property
    def cuda_event(self):
        """The event's address; 0 before it is first recorded."""
        return self._handle or 0

    def record(self, stream=None):
        """Puts the event behind all work submitted to a stream (default: the current one)."""
        stream = current_stream() if stream is None else stream
        if self._handle is None:
            self._handle = _C._cuda_new_event(stream.device_index, self._timing, self._blocking)
        _C._cuda_event_record(self._handle, stream.cuda_stream)

    def wait(self, stream=None):
        """Work submitted from here on to a stream (default: the current one) waits for the event."""
        (current_stream() if stream is None else stream).wait_event(self)

    def query(self):
        """Has the GPU passed the event? True before it is recorded."""
        return self._handle is None or _C._cuda_event_query(self._handle)

    def synchronize(self):
        """Waits until the GPU has passed the event."""
        if self._handle is not None:
            _C._cuda_event_synchronize(self._handle)

    def elapsed_time(self, end_event):
        """Milliseconds between two recorded events made with enable_timing=True."""
        if not (self._timing and end_event._timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        return _C._cuda_event_elapsed(self._made("elapsed_time"), end_event._made("elapsed_time"))

    def __del__(self):
        if getattr(self, "_handle", None) is not None:
            self._free(self._handle)

    def __repr__(self):
        return f"<fireseed.cuda.Event {self._handle:#x}>" if self._handle else "<fireseed.cuda.Event uninitialized>"


def current_stream(device=None):
    """The stream that this thread's work on a GPU goes to."""
    index = _index(device)
    return Stream(index, _handle=_C._cuda_current_stream(index))


def default_stream(device=None):
    """A GPU's own compute stream; it does not wait for other streams by itself, nor they for it."""
    index = _index(device)
    return Stream(index, _handle=_C._cuda_default_stream(index))


def set_stream(stream):
    """Sends this thread's work to a stream from now on, and makes its GPU the current one."""
    if stream is None:
        return
    _C._cuda_set_device(stream.device_index)
    _C._cuda_set_stream(stream.device_index, stream.cuda_stream)


class StreamContext(contextlib.AbstractContextManager):
    """Sends this thread's work to a stream within a block; None changes nothing."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        if self.stream is None:
            return
        self._device = _C._cuda_current_device()
        self._before = current_stream(self.stream.device_index)
        set_stream(self.stream)

    def __exit__(self, *error):
        if self.stream is not None:
            _C._cuda_set_stream(self._before.device_index, self._before.cuda_stream)
            _C._cuda_set_device(self._device)
        return False


def stream(stream):
    """``with cuda.stream(s): …`` sends the block's work to s."""
    return StreamContext(stream)


def is_current_stream_capturing():
    """Is the current stream being captured into a graph?"""
    return _C._cuda_is_capturing()
