"""What of PyTorch's API fireseed lacks or does in part, with the reason and what to use instead: one table.

`fireseed check` prints it, and the errors of missing names quote it. Names not here are supported if they exist.
"""
from fnmatch import fnmatchcase

_COMPLEX = "complex tensors are not part of fireseed; keep real and imaginary parts as two real tensors"
_SPARSE = "sparse tensors are not part of fireseed; use dense tensors, or torch.gather and Tensor.index_add for edges"
_QUANT = "quantised tensors are not part of fireseed; train in float32 or bfloat16"
_GRAPH = "programs have no representation but Python's; save the state_dict, or export the model with torch.onnx"
_DEVICE = "the devices are 'cpu' and 'cuda'"
_STORAGE = "storages are not exposed; use the tensor, Tensor.data_ptr() and Tensor.nbytes"
_NESTED = "nested tensors are not part of fireseed; pad with torch.nn.utils.rnn.pad_sequence and pass a mask"
_INTERNAL = "it is internal to PyTorch"
_DTYPE = "the dtypes are float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8 and bool"
_NO_MANY = "training is in one process; its threads share the work"
_REMOVED = "PyTorch has removed it"
_BACKEND = "it belongs to a library fireseed does not use; call the function of torch or torch.nn.functional"
_COMPILER = "code is not compiled; it runs as it is written"
_PROFILER = "use cProfile, or torch.utils.benchmark.Timer for one statement"
_GENERIC = "write its sampling and log_prob with torch and subclass torch.distributions.Distribution"

WILD = "*?["  # what makes a name a pattern

# Name or pattern -> reason. A name covers what lies below it ("torch.fft": also torch.fft.rfft).
MISSING = {
    "torch.fft": _COMPLEX + " (numpy.fft works on x.numpy(), without gradients)",
    "torch.stft": _COMPLEX, "torch.istft": _COMPLEX, "torch.functional.stft": _COMPLEX,
    "torch.functional.istft": _COMPLEX,
    "torch.complex*": _COMPLEX, "torch.view_as_complex*": _COMPLEX, "torch.view_as_real*": _COMPLEX,
    "torch.polar": _COMPLEX, "torch.cfloat": _COMPLEX, "torch.cdouble": _COMPLEX, "torch.chalf": _COMPLEX,
    "torch.eig": _COMPLEX + "; torch.linalg.eigh serves symmetric matrices",
    **{"Tensor." + name: _COMPLEX for name in ("cfloat", "cdouble", "chalf", "imag", "stft", "istft")},
    "Tensor.real": _COMPLEX + "; a real tensor is its own real part",
    "torch.sparse": _SPARSE, "torch.sparse_*": _SPARSE, "torch.sspaddmm": _SPARSE, "torch.smm": _SPARSE,
    "torch.dsmm": _SPARSE, "torch.saddmm": _SPARSE, "torch.hsmm": _SPARSE, "torch.hspmm": _SPARSE,
    "torch.resize_as_sparse_": _SPARSE, "torch.optim.SparseAdam": _SPARSE, "torch.cuda.sparse": _SPARSE,
    **{"Tensor." + name: _SPARSE for name in (
        "to_sparse", "to_sparse_coo", "to_sparse_csr", "to_sparse_csc", "to_sparse_bsr", "to_sparse_bsc", "coalesce",
        "is_coalesced", "indices", "values", "crow_indices", "col_indices", "ccol_indices", "row_indices", "sparse_dim",
        "dense_dim", "sparse_mask", "sparse_resize_", "sparse_resize_and_clear_", "resize_as_sparse_", "smm",
        "sspaddmm")},
    "torch.quantize*": _QUANT, "torch.dequantize": _QUANT, "torch.q_*": _QUANT, "torch.quantization": _QUANT,
    "torch.ao": _QUANT, "torch.int_repr": _QUANT, "torch.qint*": _QUANT, "torch.quint*": _QUANT,
    "torch.qscheme": _QUANT, "torch.per_*": _QUANT, "torch.fake_quantize*": _QUANT, "torch.fbgemm*": _QUANT,
    "torch.nn.qat": _QUANT, "torch.nn.quantized": _QUANT, "torch.nn.quantizable": _QUANT, "torch.nn.intrinsic": _QUANT,
    "torch.backends.quantized": _QUANT, "torch.nn.functional.scaled_mm": _QUANT,
    "torch.nn.functional.scaled_grouped_mm": _QUANT,
    **{"Tensor." + name: _QUANT for name in (
        "dequantize", "int_repr", "q_per_channel_axis", "q_per_channel_scales", "q_per_channel_zero_points", "q_scale",
        "q_zero_point", "qscheme")},
    "torch.float8_*": _DTYPE, "torch.float4_*": _DTYPE, "torch.uint16": _DTYPE, "torch.uint32": _DTYPE,
    "torch.uint64": _DTYPE, "torch.bits*": _DTYPE,
    "torch.jit.save": _GRAPH, "torch.jit.load": _GRAPH, "torch.jit.CompilationUnit": _GRAPH, "torch.fx": _GRAPH,
    "torch.export": _GRAPH, "torch.package": _GRAPH, "torch.ScriptModule": "it is torch.jit.ScriptModule",
    "torch._dynamo": _COMPILER, "torch._inductor": _COMPILER, "torch._functorch": _COMPILER,
    "torch.jit.enable_onednn_fusion": _BACKEND, "torch.jit.onednn_fusion_enabled": _BACKEND,
    "torch.jit.set_fusion_strategy": _COMPILER, "torch.jit.strict_fusion": _COMPILER,
    "torch.jit.export_opnames": _GRAPH, "torch.jit.Error": _GRAPH, "torch.jit.Future": _GRAPH,
    "torch.compiler.compile": "it is torch.compile", "torch.compiler.*": _COMPILER,
    "torch.cond": _COMPILER + "; use Python's if", "torch.while_loop": _COMPILER + "; use Python's while",
    "torch.library": "operators are not registered; write a torch.autograd.Function", "torch.ops": _INTERNAL,
    "torch.classes": _INTERNAL, "torch.overrides": _INTERNAL, "torch._refs": _INTERNAL,
    "torch._utils": _INTERNAL, "torch.Sym*": _COMPILER, "torch.sym_*": _COMPILER, "torch.Tag": _INTERNAL,
    "torch.utils.cpp_extension": "PyTorch's C++ API is not there; write a torch.autograd.Function in Python",
    "torch.storage": _STORAGE, "torch.*Storage": _STORAGE, "torch.cuda.*Storage": _STORAGE,
    "Tensor.storage": _STORAGE, "Tensor.untyped_storage": _STORAGE, "Tensor.storage_type": _STORAGE,
    "torch.nested": _NESTED, "torch.jagged": _NESTED, "Tensor.to_padded_tensor": _NESTED,
    "Tensor.to_mkldnn": _BACKEND, "torch.mkldnn_*": _BACKEND, "torch.cudnn_*": _BACKEND, "torch.miopen_*": _BACKEND,
    "torch.mtia": _DEVICE, "torch.hpu": _DEVICE, "torch.xla": _DEVICE, "torch.mps.*": _DEVICE, "torch.xpu.*": _DEVICE,
    "torch.is_vulkan_available": _DEVICE,
    **{"Tensor." + name: _DEVICE for name in ("ipu", "is_ipu", "is_maia", "is_mtia", "is_vulkan", "is_xla", "mtia",
                                             "xpu")},
    "torch.backends.mha": _BACKEND, "torch.backends.miopen": _BACKEND, "torch.backends.nnpack": _BACKEND,
    "torch.backends.cusparselt": _BACKEND, "torch.backends.kleidiai": _BACKEND,
    "torch.backends.python_native": _BACKEND, "torch.backends.cuda.*": _BACKEND,
    "torch.nn.attention.flex_attention": "attention is torch.nn.functional.scaled_dot_product_attention with a mask",
    "torch.nn.attention.*": "there is one attention kernel, torch.nn.functional.scaled_dot_product_attention",
    "torch.distributed.*": _NO_MANY, "torch.futures": _NO_MANY, "torch.fork": "it is torch.jit.fork",
    "torch.wait": "it is torch.jit.wait", "torch.monitor": _NO_MANY,
    "torch.nn.SyncBatchNorm": _NO_MANY + "; use torch.nn.BatchNorm2d", "torch.nn.parallel.*": _NO_MANY,
    "torch.symeig": _REMOVED + "; use torch.linalg.eigh", "torch.solve": _REMOVED + "; use torch.linalg.solve",
    "torch.lstsq": _REMOVED + "; use torch.linalg.lstsq",
    "torch.matrix_rank": _REMOVED + "; use torch.linalg.matrix_rank",
    "Tensor.symeig": _REMOVED + "; use torch.linalg.eigh", "Tensor.solve": _REMOVED + "; use torch.linalg.solve",
    "Tensor.lstsq": _REMOVED + "; use torch.linalg.lstsq", "Tensor.eig": _COMPLEX,
    "Tensor.reinforce": _REMOVED + "; use torch.distributions and log_prob",
    "Tensor.volatile": _REMOVED + "; use torch.no_grad()",
    "torch.utils.data.datapipes": _REMOVED + "; use Dataset and DataLoader",
    "torch.utils.data.*DataPipe": "use Dataset and DataLoader", "torch.utils.data.*": "use Dataset and DataLoader",
    "torch.optim.swap_in_optimizer_params_and_state": _INTERNAL, "torch.utils.weak": _INTERNAL,
    "torch.profiler": _PROFILER, "torch.autograd.profiler": _PROFILER, "torch.utils.bottleneck": _PROFILER,
    "torch.autograd.forward_ad": "use torch.func.jvp", "torch.nn.grad": "use torch.autograd.grad",
    "torch.optim._functional": "use the classes of torch.optim", "torch.nn._reduction": _INTERNAL,
    "torch._VF": _INTERNAL, "torch._jit_internal": _INTERNAL, "torch.jit.annotations": _GRAPH,
    "torch.quasirandom": "use scipy.stats.qmc.Sobol", "torch.return_types": "results are tuples with named fields",
    "torchvision.models": "write the model with torch.nn (examples/families has a ResNet and a ViT); torch.load reads weights",
    "torchvision.ops": "write it with torch", "torchvision.io": "read images with Pillow",
    "torchvision.datasets.*": "read the files with torchvision.datasets.ImageFolder or a Dataset of your own",
    "torchvision.transforms.*": "write it as a function and use torchvision.transforms.Lambda",
    "torchvision.*": "of torchvision there are datasets, transforms and utils",
    "torchvision.utils.*": "write it with torch",
    "torch.testing._internal": _INTERNAL,
    "torch.utils.collect_env": "use torch.__version__ and platform.platform()",
    "torch.utils.model_zoo": "use torch.hub.load_state_dict_from_url",
    "torch.utils.mobile_optimizer": _GRAPH,
    "torch.func.functionalize": _COMPILER, "torch.func.linearize": "use torch.func.jvp for each tangent",
    "torch.func.debug_unwrap": _INTERNAL,
    "torch.func.replace_all_batch_norm_modules_": "set track_running_stats=False of the BatchNorm layers",
    "torch.distributions.*": _GENERIC, "torch.distributions.transforms.*": "subclass torch.distributions.Transform",
    "torch.distributions.constraints.*": "subclass torch.distributions.constraints.Constraint",
    "torch.lobpcg": "use torch.linalg.eigh", "torch.hash_tensor": _DTYPE, "Tensor.hash_tensor": _DTYPE,
    "torch.nn.functional.conv_tbc": "use conv1d on x.permute(1, 2, 0)", "torch.conv_tbc": "use torch.conv1d",
    "torch.nn.functional.grouped_mm": "use torch.matmul on each group",
    "torch.batch_norm_*": _INTERNAL, "torch.native_*": _INTERNAL, "torch.slice_inverse": _INTERNAL,
    "torch.is_distributed": _INTERNAL, "torch.init_num_threads": _INTERNAL, "torch.AVG": _INTERNAL, "torch.SUM": _INTERNAL,
    "torch.nn.factory_kwargs": _INTERNAL, "torch.nn.functional.has_torch_function*": _INTERNAL,
    "torch.nn.functional.handle_torch_function": _INTERNAL, "torch.nn.functional.native_channel_shuffle": _INTERNAL,
    "torch.nn.functional.boolean_dispatch": _INTERNAL, "torch.nn.functional.assert_int_or_pair": _INTERNAL,
    "torch.autograd.enforce_grad_layout_policy": _INTERNAL,
    "torch.autograd.set_multithreading_enabled": "the backward pass runs on the thread that calls it",
    **{f"torch.{name}_copy": _SPARSE for name in ("indices", "values", "crow_indices", "col_indices", "ccol_indices",
                                                  "row_indices")},
    "torch.int[1-7]": _DTYPE, "torch.uint[1-7]": _DTYPE, "torch.bit": _DTYPE,
    "torch.choose_qparams_optimized": _QUANT, "torch.empty_quantized": _QUANT,
    "torch.fused_moving_avg_obs_fake_quant": _QUANT,
    "torch.affine_grid_generator": "use torch.nn.functional.affine_grid",
    "torch.alpha_dropout_": "use torch.nn.functional.alpha_dropout",
    "torch.feature_*dropout_": "use torch.nn.functional.dropout2d",
    "torch.binomial": "use torch.distributions.Multinomial or numpy.random.binomial",
    "torch.poisson": "use numpy.random.poisson", "torch.convolution": "use torch.conv2d and its relatives",
    "torch.from_file": "use torch.from_numpy(numpy.memmap(path, dtype))",
    "torch.norm_except_dim": "use torch.linalg.vector_norm", "torch.has_*": _BACKEND,
    "torch.is_anomaly_check_nan_enabled": "use torch.autograd.detect_anomaly",
    "torch.set_anomaly_enabled": "use torch.autograd.set_detect_anomaly", "torch.*autocast*": "use torch.autocast",
    **{f"torch.{name}": _GRAPH for name in (
        "import_ir_module", "import_ir_module_from_buffer", "merge_type_from_type_comment", "parse_ir", "parse_schema",
        "parse_type_comment", "unify_type_list")},
    "Tensor.const_data_ptr": "use Tensor.data_ptr()", "Tensor.dim_order": "use Tensor.stride()",
    "Tensor.grad_dtype": _INTERNAL, "Tensor.index": "use x[...]", "Tensor.is_distributed": _INTERNAL,
    "Tensor.map2_": "use functions of whole tensors", "Tensor.module_load": _INTERNAL, "Tensor.name": _INTERNAL,
    "Tensor.resize": "use Tensor.reshape or Tensor.resize_", "Tensor.resize_as": "use Tensor.resize_as_",
    "Tensor.slice_inverse": _INTERNAL,
    "torch.nn.functional.fractional_max_pool?d_with_indices": "use fractional_max_pool2d(..., return_indices=True)",
    "torch.func.rearrange": "use reshape and permute, or the einops package", "torch.backends.mps.*": _DEVICE,
    "torch.types.Storage": _STORAGE,
    "torch.get_file_path": _INTERNAL, "torch.prepare_multiprocessing_environment": _INTERNAL,
    "torch.thread_safe_generator": "pass a torch.Generator of each thread's own",
    "torch.random.thread_safe_generator": "pass a torch.Generator of each thread's own",
    "torch.autograd.graph.*": "use Tensor.register_hook and torch.utils.checkpoint",
    "torch.autograd.NestedIOFunction": _INTERNAL,
}
PARTIAL = {
    "torch.compile": "returns the module or function as it is, which runs as it is written",
    "torch.jit.script": "returns its argument as it is; .save(), .graph and .code are not there",
    "torch.jit.trace": "calls the function once and returns it as it is; control flow is not frozen",
    "torch.jit.trace_module": "calls the methods once and returns the module as it is",
    "torch.jit.freeze": "returns the module as it is",
    "torch.vmap": "calls the function once a sample and stacks the results: right, but not faster than a loop",
    "torch.func.vmap": "calls the function once a sample and stacks the results: right, but not faster than a loop",
    "torch.func.jacfwd": "is jacrev: there is no forward mode",
    "torch.func.jvp": "two backward passes: there is no forward mode",
    "torch.sparse_coo": "a constant to compare Tensor.layout with; sparse tensors are not part of fireseed",
    "torch.spmm": "for dense matrices",
    "torch.distributed.init_process_group": "a world of one process (WORLD_SIZE=1)",
    "torch.nn.parallel.DistributedDataParallel": "in a world of one process: calls its module",
    "torch.nn.DataParallel": "on one device: calls its module",
    "torch.nn.parallel.DataParallel": "on one device: calls its module",
    "torch.nn.parallel.data_parallel": "on one device: calls the module",
    "torch.multiprocessing.spawn": "tensors are copied to the processes, not shared",
    "torch.multiprocessing.Process": "tensors are copied to the process, not shared",
    "torch.multiprocessing.Queue": "tensors are copied through it, not shared",
    "torch.multiprocessing.SimpleQueue": "tensors are copied through it, not shared",
    "torch.multiprocessing.Pool": "tensors are copied to the processes, not shared",
    "torch.hub.load": "with source='local': repositories are not fetched",
    "torch.hub.list": "with source='local': repositories are not fetched",
    "torch.hub.help": "with source='local': repositories are not fetched",
}


def reason(name):
    """Why fireseed lacks a PyTorch name such as "torch.fft.rfft" or "Tensor.to_sparse"; None for what has no entry."""
    parts = name.split(".")
    for n in range(len(parts), 1, -1):
        head = ".".join(parts[:n])
        if head in MISSING:
            return MISSING[head]
    for n in range(len(parts), 1, -1):
        head = ".".join(parts[:n])
        for pattern, text in MISSING.items():
            if any(c in pattern for c in WILD) and pattern.count(".") == n - 1 and fnmatchcase(head, pattern):
                return text
    return None


def missing(name):
    """The text of the error for a PyTorch name that fireseed lacks."""
    why = reason(name)
    return f"fireseed has no {name}: {why}" if why else f"fireseed has no {name}"
