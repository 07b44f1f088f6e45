"""torch.utils.tensorboard: SummaryWriter, by the tensorboardX package (pip install fireseed[tensorboard])."""
try:
    import tensorboardX as _package
except ImportError as error:
    raise ImportError("fireseed.utils.tensorboard needs the tensorboardX package: pip install fireseed[tensorboard]") from error

from .. import _C

__all__ = ["FileWriter", "SummaryWriter"]

FileWriter = _package.FileWriter


def _array(value):
    """Tensors, also inside lists and dicts, as what numpy can read."""
    if isinstance(value, _C.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == _C.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {k: _array(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_array(v) for v in value)
    return value


def _taking_tensors(name):
    method = getattr(_package.SummaryWriter, name)

    def call(self, *args, **kwargs):
        return method(self, *(_array(a) for a in args), **{k: _array(v) for k, v in kwargs.items()})

    call.__name__, call.__doc__ = name, method.__doc__
    return call


def _new_nodes(tensor, known):
    """The autograd nodes that a tensor depends on and that are not known yet."""
    found, waiting = [], [tensor.grad_fn] if isinstance(tensor, _C.Tensor) else []
    while waiting:
        node = waiting.pop()
        if node is not None and node not in known and node not in found:
            found.append(node)
            waiting += [before for before, _ in node.next_functions]
    return found


def _flat(value):
    if isinstance(value, (list, tuple)):
        return [t for part in value for t in _flat(part)]
    return [t for part in value.values() for t in _flat(part)] if isinstance(value, dict) else [value]


def _graph_of(model, inputs):
    """The GraphDef event of autograd's nodes of one forward pass, each under the path of the layer that made it."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.versions_pb2 import VersionDef

    inputs = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
    paths = {module: name for name, module in model.named_modules()}
    names = {id(p): name for name, p in model.named_parameters()}
    scope, handles, hooked = {}, [], [(m, m._hooked) for m in paths]

    def claim(path, value):
        for tensor in _flat(value):
            scope.update(dict.fromkeys(_new_nodes(tensor, scope), path))

    for module, path in paths.items():
        parent = path.rpartition(".")[0]
        handles.append(module.register_forward_pre_hook(lambda m, args, parent=parent: claim(parent, args)))
        handles.append(module.register_forward_hook(lambda m, args, output, path=path: claim(path, output)))
    inputs = tuple(x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs)
    with _C.enable_grad():
        try:
            model(*inputs)
        finally:
            for handle in handles:
                handle.remove()
            for module, was in hooked:
                module._hooked = was
    root, title, used = type(model).__name__, {}, {}
    input_names = {id(x): f"input/{i}" for i, x in enumerate(inputs)}
    for node, path in scope.items():
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) in input_names:
            title[node] = input_names[id(variable)]
        elif variable is not None:
            title[node] = f"{root}/{names.get(id(variable), 'tensor').replace('.', '/')}"
        else:
            kind = node.name().removesuffix("0").removesuffix("Backward")
            full = "/".join(part for part in (root, path.replace(".", "/"), kind) if part)
            used[full] = used.get(full, 0) + 1
            title[node] = full if used[full] == 1 else f"{full}_{used[full] - 1}"
    nodes = {}
    for node in scope:
        kind = "Parameter" if getattr(node, "variable", None) is not None else title[node].rpartition("/")[2].rstrip("_0123456789")
        before = [title[b] for b, _ in node.next_functions if b in title]
        nodes[title[node]] = NodeDef(name=title[node], op="Input" if title[node].startswith("input/") else kind, input=before)
    graph = GraphDef(node=list(nodes.values()), versions=VersionDef(producer=22))
    return Event(graph_def=graph.SerializeToString())


class SummaryWriter(_package.SummaryWriter):
    """Writes event files that TensorBoard reads: torch.utils.tensorboard's methods, with fireseed's tensors.

    log_dir: the folder; by default runs/<date>_<host>. Values may be numbers, numpy arrays or tensors.
    """

    def __init__(self, log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120, filename_suffix=""):
        super().__init__(logdir=None if log_dir is None else str(log_dir), comment=comment, purge_step=purge_step,
                         max_queue=max_queue, flush_secs=flush_secs, filename_suffix=filename_suffix)

    @property
    def log_dir(self):
        """The folder."""
        return self.logdir

    def add_graph(self, model, input_to_model=None, verbose=False, use_strict_trace=True):
        """Draws the operations of one run of a module on its input, grouped by layers, with the parameters they use."""
        self._get_file_writer().add_event(_graph_of(model, input_to_model))


for _name in ("add_scalar", "add_scalars", "add_histogram", "add_image", "add_images", "add_image_with_boxes", "add_video",
              "add_audio", "add_text", "add_embedding", "add_pr_curve", "add_mesh", "add_hparams"):
    setattr(SummaryWriter, _name, _taking_tensors(_name))
