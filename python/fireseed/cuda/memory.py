"""Memory of GPUs: what tensors hold (allocated), what the caching allocator holds (reserved), and their peaks."""
from .. import _C


def _stats(device):
    from . import _index, is_available
    if not is_available():
        return dict.fromkeys(("allocated", "max_allocated", "reserved", "max_reserved", "active", "largest_free",
                              "segments", "allocations", "frees", "retries", "ooms"), 0)
    return _C._cuda_memory(_index(device, "memory_stats"))


def memory_allocated(device=None):
    """Bytes that tensors hold now."""
    return _stats(device)["allocated"]


def max_memory_allocated(device=None):
    """Most bytes that tensors held at once, since the start or reset_peak_memory_stats."""
    return _stats(device)["max_allocated"]


def memory_reserved(device=None):
    """Bytes taken from the driver: what tensors hold and what is cached."""
    return _stats(device)["reserved"]


def max_memory_reserved(device=None):
    """Most bytes taken from the driver at once."""
    return _stats(device)["max_reserved"]


memory_cached, max_memory_cached = memory_reserved, max_memory_reserved


def reset_peak_memory_stats(device=None):
    """The peaks start again from what is held now."""
    from . import _index, is_available
    if is_available():
        _C._cuda_reset_peak_memory(_index(device, "reset_peak_memory_stats"))


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def empty_cache():
    """Gives cached memory that no tensor holds back to the driver."""
    _C._cuda_empty_cache()


def mem_get_info(device=None):
    """(free, total) bytes of a GPU, as the driver sees it."""
    from . import _index
    return _C._cuda_mem_get_info(_index(device, "mem_get_info"))


def set_per_process_memory_fraction(fraction, device=None):
    """Lets this process take at most this part, 0 to 1, of a GPU's memory."""
    from . import _index
    _C._cuda_set_memory_fraction(_index(device, "set_per_process_memory_fraction"), float(fraction))


def memory_stats(device=None):
    """All counters, with the keys of torch.cuda.memory_stats that apply."""
    s = _stats(device)
    return {
        "allocated_bytes.all.current": s["allocated"], "allocated_bytes.all.peak": s["max_allocated"],
        "reserved_bytes.all.current": s["reserved"], "reserved_bytes.all.peak": s["max_reserved"],
        "active_bytes.all.current": s["active"], "allocation.all.allocated": s["allocations"],
        "allocation.all.freed": s["frees"], "allocation.all.current": s["allocations"] - s["frees"],
        "segment.all.current": s["segments"], "inactive_split_bytes.all.current": s["reserved"] - s["active"],
        "num_alloc_retries": s["retries"], "num_ooms": s["ooms"],
    }


def _human(n):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n} B" if unit == "B" else f"{n:.2f} {unit}"
        n /= 1024


def memory_summary(device=None, abbreviated=False):
    """The counters as a table to print."""
    from . import _index
    s, index = _stats(device), _index(device, "memory_summary")
    rows = [("in tensors", s["allocated"], s["max_allocated"]), ("taken from the driver", s["reserved"], s["max_reserved"])]
    lines = [f"fireseed CUDA memory, device {index}", f"{'':26}{'now':>14}{'peak':>14}"]
    lines += [f"{name:26}{_human(now):>14}{_human(peak):>14}" for name, now, peak in rows]
    if not abbreviated:
        lines.append(f"{'cached, free':26}{_human(s['reserved'] - s['active']):>14}")
        lines.append(f"{'longest free block':26}{_human(s['largest_free']):>14}")
        lines += [f"{name:26}{s[key]:>14}" for name, key in (
            ("segments", "segments"), ("allocations", "allocations"), ("frees", "frees"),
            ("retries after a full GPU", "retries"), ("out of memory errors", "ooms"))]
    return "\n".join(lines)


def caching_allocator_alloc(size, device=None, stream=None):
    """Raw memory is not handed out; use empty(size, dtype=uint8, device='cuda')."""
    raise NotImplementedError("cuda.caching_allocator_alloc: use empty(size, dtype=uint8, device='cuda')")
