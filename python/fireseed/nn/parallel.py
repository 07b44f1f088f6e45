"""DataParallel: on machines without several GPUs it only calls its module, as PyTorch's does."""
from .modules.module import Module


class DataParallel(Module):
    """Wraps a module as `module`, so that scripts and state dicts written for it work; runs on one device."""

    def __init__(self, module, device_ids=None, output_device=None, dim=0):
        super().__init__()
        self.module, self.dim = module, dim
        self.device_ids, self.output_device = list(device_ids or ()), output_device

    def forward(self, *inputs, **kwargs):
        return self.module(*inputs, **kwargs)
