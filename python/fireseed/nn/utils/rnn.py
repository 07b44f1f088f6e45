"""Padding and packing of sequences of different lengths."""
from collections import namedtuple
from collections.abc import Iterable

from ... import _C

Tensor = _C.Tensor


class PackedSequence(namedtuple("PackedSequence_", ["data", "batch_sizes", "sorted_indices", "unsorted_indices"])):
    """Sequences laid out step by step: data (sum of lengths, *), batch_sizes (int64, one a step).

    sorted_indices: how the batch was reordered by length; unsorted_indices: its inverse. Made by pack_* functions.
    """

    __slots__ = ()

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError("batch_sizes should always be on CPU. Instances of PackedSequence should never be created "
                             "manually: use pack_sequence and pack_padded_sequence.")
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args, **kwargs):
        """Moves or converts data; the indices follow to its device."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        def move(t):
            return None if t is None else t.to(data.device)
        return type(self)(data, self.batch_sizes, move(self.sorted_indices), move(self.unsorted_indices))

    def cuda(self, device="cuda"):
        """to("cuda")."""
        return self.to(device)

    def cpu(self):
        """to("cpu")."""
        return self.to("cpu")

    def float(self):
        """to(float32)."""
        return self.to(_C.float32)

    def double(self):
        """to(float64)."""
        return self.to(_C.float64)

    def half(self):
        """to(float16)."""
        return self.to(_C.float16)

    def pin_memory(self):
        """As it is: there is nothing to pin on the CPU."""
        return self

    @property
    def is_cuda(self):
        """Whether data is on a CUDA device."""
        return self.data.is_cuda


def invert_permutation(permutation):
    """The inverse of a permutation (int64, n), or None of None."""
    if permutation is None:
        return None
    out = _C.empty_like(permutation)
    out[permutation] = _C.arange(permutation.numel(), dtype=_C.int64, device=permutation.device)
    return out


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Packs (T, B, *) (batch_first: (B, T, *)) with lengths (B); enforce_sorted: lengths must be decreasing."""
    lengths = lengths.reshape(-1).tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    order = None
    if not enforce_sorted:
        permutation = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        lengths = [lengths[i] for i in permutation]
        order = _C.tensor(permutation, dtype=_C.int64, device=input.device)
        input = input.index_select(0 if batch_first else 1, order)
    if batch_first:
        input = input.transpose(0, 1)
    if len(lengths) != input.shape[1]:
        raise RuntimeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size="
                           f"{input.shape[1]})")
    if not lengths or min(lengths) <= 0:
        raise RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' "
                           "that is <= 0")
    if any(a < b for a, b in zip(lengths, lengths[1:], strict=False)):
        raise RuntimeError("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
                           "You can pass "
                           "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this "
                           "requirement if you do not need ONNX exportability.")
    if lengths[0] > input.shape[0]:
        raise RuntimeError(f"Expected sequence length to be at most {input.shape[0]}, but got a length of {lengths[0]}")
    sizes, batch = [], len(lengths)
    for t in range(lengths[0]):
        while lengths[batch - 1] <= t:
            batch -= 1
        sizes.append(batch)
    data = _C.cat([input[t, :n] for t, n in enumerate(sizes)])
    return PackedSequence(data, _C.tensor(sizes, dtype=_C.int64), order, None)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The inverse of pack_padded_sequence: the padded tensor and the lengths (int64, B)."""
    sizes = sequence.batch_sizes.tolist()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError("Expected total_length to be at least the length of the longest sequence in input, "
                             "but got "
                             f"total_length={total_length} and max sequence length being {steps}")
        steps = total_length
    data = sequence.data
    rest, batch = tuple(data.shape[1:]), sizes[0]
    rows = []
    for t, part in enumerate(data.split(sizes)):
        if sizes[t] < batch:
            fill = _C.full((batch - sizes[t],) + rest, padding_value, dtype=data.dtype, device=data.device)
            part = _C.cat([part, fill])
        rows.append(part)
    rows += [_C.full((batch,) + rest, padding_value, dtype=data.dtype, device=data.device)] * (steps - len(sizes))
    out = _C.stack(rows, 1 if batch_first else 0)
    lengths = _C.tensor([sum(1 for n in sizes if n > b) for b in range(batch)], dtype=_C.int64)
    back = sequence.unsorted_indices
    if back is not None:
        return out.index_select(0 if batch_first else 1, back), lengths.index_select(0, back.cpu())
    return out, lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Stacks tensors (L_i, *) into (T, B, *) (batch_first: (B, T, *)), padded to the longest."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError("pad_sequence: Expected iterable for input sequences, but got arg of type: "
                           f"{type(sequences)}")
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    longest = max(s.shape[0] for s in sequences)
    rows = []
    for s in sequences:
        if s.shape[0] < longest:
            fill = _C.full((longest - s.shape[0],) + tuple(s.shape[1:]), padding_value, dtype=s.dtype, device=s.device)
            s = _C.cat([s, fill] if padding_side == "right" else [fill, s])
        rows.append(s)
    return _C.stack(rows, 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The list of tensors (L_i, *) that pad_sequence padded on the right."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [padded_sequences[b, :n] for b, n in enumerate(lengths.tolist())]


def pack_sequence(sequences, enforce_sorted=True):
    """Packs a list of tensors (L_i, *)."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The list of tensors that pack_sequence packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
