"""PyTorch's torch.distributed for a single process: a world of size 1, in which every collective has one taker.

Scripts written for torchrun run unchanged when they are started alone. A world of several processes is refused.
"""
import datetime
import os

from .. import _C

__all__ = ["Backend", "P2POp", "ProcessGroup", "ReduceOp", "Work", "all_gather", "all_gather_into_tensor",
           "all_gather_object", "all_reduce", "all_to_all", "all_to_all_single", "barrier", "broadcast",
           "broadcast_object_list", "destroy_process_group", "gather", "gather_object", "get_backend",
           "get_global_rank", "get_group_rank", "get_process_group_ranks", "get_rank", "get_world_size", "group",
           "init_process_group", "is_available", "is_backend_available", "is_gloo_available", "is_initialized",
           "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "monitored_barrier", "new_group",
           "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter"]

default_pg_timeout = datetime.timedelta(minutes=30)


class Backend(str):
    """Names of PyTorch's backends, which all serve for one process."""

    UNDEFINED, GLOO, NCCL, MPI, UCC = "undefined", "gloo", "nccl", "mpi", "ucc"


class ReduceOp:
    """How reductions combine the ranks' tensors; with one rank every one of them gives its tensor."""

    SUM, AVG, PRODUCT, MIN, MAX = "SUM", "AVG", "PRODUCT", "MIN", "MAX"
    BAND, BOR, BXOR, PREMUL_SUM = "BAND", "BOR", "BXOR", "PREMUL_SUM"


_OPS = {getattr(ReduceOp, name) for name in dir(ReduceOp) if name.isupper()}


class ProcessGroup:
    """The group of this one process."""

    def __init__(self, backend):
        self.backend = backend

    def rank(self):
        return 0

    def size(self):
        return 1


class Work:
    """Handle of a collective with async_op=True; it is already done."""

    def __init__(self, result=None):
        self._result = result

    def wait(self, timeout=None):
        return True

    def is_completed(self):
        return True

    is_success = is_completed

    def result(self):
        return self._result


class _GroupMeta(type):
    @property
    def WORLD(cls):
        return _world


class group(metaclass=_GroupMeta):
    """group.WORLD: the process group of all ranks, None before init_process_group."""


GroupMember = group
_world = None


def is_available():
    """True: this module is there."""
    return True


def is_initialized():
    """Has init_process_group been called?"""
    return _world is not None


def is_torchelastic_launched():
    """Was the process started by torchrun?"""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_nccl_available():
    """False: NCCL is not used."""
    return False


is_mpi_available = is_nccl_available


def is_gloo_available():
    """True: 'gloo' is accepted for a world of one process."""
    return True


def is_backend_available(backend):
    """Can init_process_group take this name?"""
    return backend.lower() in ("gloo", "nccl", "mpi", "ucc")


def _given(value, variable):
    return int(value) if value is not None and value >= 0 else int(os.environ.get(variable, -1))


def init_process_group(backend=None, init_method=None, timeout=None, world_size=-1, rank=-1, store=None, group_name="",
                       pg_options=None, device_id=None):
    """Starts the world of one process. world_size and rank may come from WORLD_SIZE and RANK, as torchrun sets them.

    RuntimeError for a world of more processes, and where a world is there already; ValueError for what is missing.
    """
    global _world
    if _world is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if backend is not None:
        for part in str(backend).split(","):
            name = part.rpartition(":")[2]
            if not is_backend_available(name):
                raise ValueError(f"init_process_group: unknown backend {name!r}; expected 'gloo', 'nccl' or 'mpi'")
    size, number = _given(world_size, "WORLD_SIZE"), _given(rank, "RANK")
    if size < 0 or number < 0:
        what = "world_size" if size < 0 else "rank"
        raise ValueError(f"init_process_group: {what} is not given, and the environment has no {what.upper()}; start "
                         "the script with torchrun's variables, or pass world_size=1, rank=0")
    if size != 1:
        raise RuntimeError(f"init_process_group: a world of {size} processes; this fireseed trains in one process "
                           "(all its threads share the work). Start the script once, with WORLD_SIZE=1 and RANK=0")
    if number != 0:
        raise ValueError(f"init_process_group: rank {number} in a world of 1 process; expected 0")
    _world = ProcessGroup(str(backend or "gloo"))


def destroy_process_group(group=None):
    """Ends the world."""
    global _world
    _need()
    if group is None or group is _world:
        _world = None


def _need(group=None):
    if _world is None:
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    return _world


def get_rank(group=None):
    """0."""
    _need(group)
    return 0


def get_world_size(group=None):
    """1."""
    _need(group)
    return 1


def get_backend(group=None):
    """The name that init_process_group was given."""
    return _need(group).backend.lower()


def get_process_group_ranks(group=None):
    """[0]."""
    _need(group)
    return [0]


def get_global_rank(group, group_rank):
    """The rank in the world of a rank in the group: itself."""
    _rank(group_rank, "get_global_rank")
    return 0


get_group_rank = get_global_rank


def new_group(ranks=None, timeout=None, backend=None, **options):
    """A group of ranks; only [0] is possible."""
    world = _need()
    if ranks is not None and list(ranks) != [0]:
        raise ValueError(f"new_group: ranks {list(ranks)} in a world of 1 process; expected [0]")
    return ProcessGroup(backend or world.backend)


def _rank(rank, name):
    _need()
    if rank not in (0, None):
        raise ValueError(f"{name}: rank {rank} in a world of 1 process; expected 0")


def _tensor(tensor, name):
    _need()
    if not isinstance(tensor, _C.Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    return tensor


def _op(op, name):
    if op not in _OPS:
        raise ValueError(f"{name}: unknown op {op!r}; expected one of ReduceOp's")


def _done(async_op, result=None):
    return Work(result) if async_op else None


def _copy(target, source, name):
    _tensor(target, name)
    _tensor(source, name)
    if target.numel() != source.numel():
        raise ValueError(f"{name}: the output {tuple(target.shape)} must hold as many elements as the input "
                         f"{tuple(source.shape)} in a world of 1 process")
    with _C.no_grad():
        target.copy_(source.reshape(target.shape))


def _single(tensors, name):
    if len(tensors) != 1:
        raise ValueError(f"{name}: expected a list of 1 tensor, one a rank, got {len(tensors)}")
    return tensors[0]


def all_reduce(tensor, op=ReduceOp.SUM, group=None, async_op=False):
    """Combines tensor over all ranks, in place: stays as it is."""
    _op(op, "all_reduce")
    _tensor(tensor, "all_reduce")
    return _done(async_op, [tensor])


def reduce(tensor, dst=None, op=ReduceOp.SUM, group=None, async_op=False, group_dst=None):
    """Combines tensor over all ranks into rank dst's: stays as it is."""
    _rank(dst, "reduce")
    return all_reduce(tensor, op, group, async_op)


def broadcast(tensor, src=None, group=None, async_op=False, group_src=None):
    """Rank src's tensor to all: stays as it is."""
    _rank(src, "broadcast")
    return _done(async_op, [_tensor(tensor, "broadcast")])


def all_gather(tensor_list, tensor, group=None, async_op=False):
    """Every rank's tensor into tensor_list, in place."""
    _copy(_single(tensor_list, "all_gather"), tensor, "all_gather")
    return _done(async_op, tensor_list)


def all_gather_into_tensor(output_tensor, input_tensor, group=None, async_op=False):
    """Every rank's input, concatenated or stacked, into output_tensor."""
    _copy(output_tensor, input_tensor, "all_gather_into_tensor")
    return _done(async_op, output_tensor)


def gather(tensor, gather_list=None, dst=None, group=None, async_op=False, group_dst=None):
    """Every rank's tensor into rank dst's gather_list."""
    _rank(dst, "gather")
    if gather_list is None:
        raise ValueError("gather: Argument ``gather_list`` must be specified on destination rank.")
    return all_gather(gather_list, tensor, group, async_op)


def scatter(tensor, scatter_list=None, src=None, group=None, async_op=False, group_src=None):
    """Rank src's scatter_list, one to each rank's tensor."""
    _rank(src, "scatter")
    if scatter_list is None:
        raise ValueError("scatter: Argument ``scatter_list`` must be specified on source rank.")
    _copy(tensor, _single(scatter_list, "scatter"), "scatter")
    return _done(async_op, [tensor])


def reduce_scatter(output, input_list, op=ReduceOp.SUM, group=None, async_op=False):
    """Combines the ranks' lists; each rank gets its part into output."""
    _op(op, "reduce_scatter")
    _copy(output, _single(input_list, "reduce_scatter"), "reduce_scatter")
    return _done(async_op, [output])


def reduce_scatter_tensor(output, input, op=ReduceOp.SUM, group=None, async_op=False):
    """Combines the ranks' inputs; each rank gets its part into output."""
    _op(op, "reduce_scatter_tensor")
    _copy(output, input, "reduce_scatter_tensor")
    return _done(async_op, [output])


def all_to_all(output_tensor_list, input_tensor_list, group=None, async_op=False):
    """Rank i's j-th input to rank j's i-th output."""
    _copy(_single(output_tensor_list, "all_to_all"), _single(input_tensor_list, "all_to_all"), "all_to_all")
    return _done(async_op, output_tensor_list)


def all_to_all_single(output, input, output_split_sizes=None, input_split_sizes=None, group=None, async_op=False):
    """all_to_all with parts of one tensor."""
    _copy(output, input, "all_to_all_single")
    return _done(async_op, output)


def barrier(group=None, async_op=False, device_ids=None):
    """Waits until all ranks are here."""
    _need()
    return _done(async_op)


def monitored_barrier(group=None, timeout=None, wait_all_ranks=False):
    """barrier."""
    _need()


def all_gather_object(object_list, obj, group=None):
    """Every rank's object into object_list."""
    _need()
    _single(object_list, "all_gather_object")
    object_list[0] = obj


def gather_object(obj, object_gather_list=None, dst=None, group=None, group_dst=None):
    """Every rank's object into rank dst's list."""
    _rank(dst, "gather_object")
    all_gather_object(object_gather_list, obj)


def broadcast_object_list(object_list, src=None, group=None, device=None, group_src=None):
    """Rank src's objects to all: stay as they are."""
    _rank(src, "broadcast_object_list")


class P2POp:
    """Point-to-point operations need a peer: RuntimeError."""

    def __init__(self, *args, **kwargs):
        _no_peer()


def _no_peer(*args, **kwargs):
    """RuntimeError: in a world of 1 process there is nobody to send to or receive from."""
    raise RuntimeError("in a world of 1 process there is nobody to send to or receive from")


send = recv = isend = irecv = batch_isend_irecv = _no_peer


def __getattr__(name):
    from .._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
