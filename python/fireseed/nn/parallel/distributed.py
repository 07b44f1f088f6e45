"""DistributedDataParallel in a world of one process, where it only calls its module."""
import contextlib

from ..modules.module import Module

__all__ = ["DistributedDataParallel"]


class DistributedDataParallel(Module):
    """Wraps a module as `module`; in a world of one process (fireseed.distributed) its gradients are the global ones.

    ValueError before init_process_group, RuntimeError for a module without parameters that require grad. The options
    about buckets, buffers and graphs are accepted and change nothing.
    """

    def __init__(self, module, device_ids=None, output_device=None, dim=0, broadcast_buffers=True, init_sync=True,
                 process_group=None, bucket_cap_mb=None, find_unused_parameters=False, check_reduction=False,
                 gradient_as_bucket_view=False, static_graph=False, delay_all_reduce_named_params=None,
                 param_to_hook_all_reduce=None, mixed_precision=None, device_mesh=None,
                 skip_all_reduce_unused_params=False):
        super().__init__()
        from ... import distributed
        distributed.get_world_size(process_group)
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError("DistributedDataParallel is not needed when a module doesn't have any parameters that "
                               "require a gradient.")
        self.module, self.dim, self.process_group = module, dim, process_group
        self.device_ids, self.output_device = device_ids, output_device
        self.device = next(module.parameters()).device
        self.broadcast_buffers, self.find_unused_parameters = broadcast_buffers, find_unused_parameters
        self.require_backward_grad_sync = True

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)

    @contextlib.contextmanager
    def no_sync(self):
        """Within it gradients are not combined over processes; with one process nothing changes."""
        before, self.require_backward_grad_sync = self.require_backward_grad_sync, False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    @contextlib.contextmanager
    def join(self, divide_by_initial_world_size=True, enable=True, throw_on_early_termination=False):
        """For processes with batches of different number; with one process nothing changes."""
        yield

    def register_comm_hook(self, state, hook):
        """Accepted: with one process there is no communication to hook into."""
