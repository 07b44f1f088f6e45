"""Recurrent layers and cells: RNN, LSTM, GRU; layers, both directions, projections and packed sequences."""
import math
import warnings

from ... import _C
from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: the parameters weight_ih_l0, weight_hh_l0, bias_ih_l0, ... and the loops."""

    def __init__(self, mode, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, proj_size=0, device=None, dtype=None):
        super().__init__()
        if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an "
                             "element being "
                             "zeroed")
        if dropout > 0 and num_layers == 1:
            warnings.warn("dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                          f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                          stacklevel=3)
        for name, value in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
            if value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        rows, out = _GATES[mode] * hidden_size, proj_size or hidden_size
        self._all_weights = []
        for layer in range(num_layers):
            width = input_size if layer == 0 else out * (2 if bidirectional else 1)
            for suffix in ("", "_reverse")[:2 if bidirectional else 1]:
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, out)}
                if bias:
                    shapes.update(bias_ih=(rows,), bias_hh=(rows,))
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = []
                for name, shape in shapes.items():
                    names.append(f"{name}_l{layer}{suffix}")
                    setattr(self, names[-1], Parameter(_C.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self.reset_parameters()

    def reset_parameters(self):
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self):
        """Nothing to do: PyTorch's cuDNN needs it, fireseed's kernels do not."""

    @property
    def all_weights(self):
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self):
        return [getattr(self, name) for names in self._all_weights for name in names]

    def extra_repr(self):
        s = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size != 0:
            s += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            s += f", num_layers={self.num_layers}"
        if self.bias is not True:
            s += f", bias={self.bias}"
        if self.batch_first is not False:
            s += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            s += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            s += f", bidirectional={self.bidirectional}"
        return s

    # ---- checks ---------------------------------------------------------------------------------------------------
    def _check_input(self, x, dims):
        if x.dim() != dims:
            raise RuntimeError(f"input must have {dims} dimensions, got {x.dim()}")
        if x.shape[-1] != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                               f"{x.shape[-1]}")
        weight = self.weight_ih_l0
        if x.dtype != weight.dtype:
            raise ValueError(f"RNN input dtype ({x.dtype}) does not match weight dtype ({weight.dtype}). "
                             "Convert input: "
                             f"input.to({weight.dtype}), or convert model: model.to({x.dtype})")

    def _check_hidden(self, h, batch, size, what="hidden"):
        want = (self.num_layers * (2 if self.bidirectional else 1), batch, size)
        if tuple(h.shape) != want:
            raise RuntimeError(f"Expected {what} size {want}, got {list(h.shape)}")

    def _call(self, input, hx):
        """Input and state in all the forms PyTorch takes; returns output, h, c in the same form."""
        lstm = self.mode == "LSTM"
        name = self.mode.split("_")[0]
        packed = isinstance(input, PackedSequence)
        batch_sizes = order = back = None
        batched = True
        if packed:
            x, batch_sizes, order, back = input
            batch = int(batch_sizes[0])
            self._check_input(x, 2)
        else:
            if input.dim() not in (2, 3):
                raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D instead")
            batched = input.dim() == 3
            x = input
            if not batched:
                x = x.unsqueeze(1)
            self._check_input(x, 3)
            first = batched and self.batch_first
            batch = x.shape[0 if first else 1]
            if x.shape[1 if first else 0] == 0:
                raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        h = c = None
        if hx is not None:
            if lstm:
                if not isinstance(hx, (tuple, list)) or len(hx) != 2:
                    raise RuntimeError("LSTM: Expected hx to be a tuple (h_0, c_0) of two tensors")
                h, c = hx
            else:
                h = hx
            if not packed:
                want = 3 if batched else 2
                for state in (h,) if c is None else (h, c):
                    if state.dim() != want:
                        raise RuntimeError(f"For {'batched 3-D' if batched else 'unbatched 2-D'} input, hx"
                                           f"{' and cx' if lstm else ''} should also be {want}-D but got "
                                           f"{state.dim()}-D tensor")
                if not batched:
                    h = h.unsqueeze(1)
                    c = None if c is None else c.unsqueeze(1)
            elif order is not None:
                h = h.index_select(1, order)
                c = None if c is None else c.index_select(1, order)
            self._check_hidden(h, batch, self.proj_size or self.hidden_size, "hidden[0]" if lstm else "hidden")
            if lstm:
                self._check_hidden(c, batch, self.hidden_size, "hidden[1]")
        out, h, c = _C._rnn(self.mode, x, batch_sizes, h, c, self._flat_weights, self.bias, self.num_layers,
                            self.dropout, self.training, self.bidirectional, batched and self.batch_first)
        if packed:
            out = PackedSequence(out, batch_sizes, order, back)
            if back is not None:
                h = h.index_select(1, back)
                c = None if c is None else c.index_select(1, back)
        elif not batched:
            out, h = out.squeeze(1), h.squeeze(1)
            c = None if c is None else c.squeeze(1)
        return out, h, c


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu: (T, B, I) -> (T, B, D H), h_n (layers D, B, H)."""

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False,
                 dropout=0.0, bidirectional=False, device=None, dtype=None, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if kwargs:
            raise TypeError(f"RNN.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_" + nonlinearity.upper(), input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, 0, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        out, h, _ = self._call(input, hx)
        return out, h


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997): input, (h_0, c_0) -> output, (h_n, c_n)."""

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, proj_size=0, device=None, dtype=None):
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         proj_size, device, dtype)

    def forward(self, input, hx=None):
        out, h, c = self._call(input, hx)
        return out, (h, c)


class GRU(RNNBase):
    """Gated recurrent unit (Cho et al. 2014; reset gate after the product): input, h_0 -> output, h_n."""

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
                 bidirectional=False, device=None, dtype=None, **kwargs):
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if kwargs:
            raise TypeError(f"GRU.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
                         device, dtype)

    def forward(self, input, hx=None):
        out, h, _ = self._call(input, hx)
        return out, h


class RNNCellBase(Module):
    """What the cells share: weight_ih, weight_hh, bias_ih, bias_hh."""

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = num_chunks * hidden_size
        kw = {"device": device, "dtype": dtype}
        self.weight_ih = Parameter(_C.empty((rows, input_size), **kw))
        self.weight_hh = Parameter(_C.empty((rows, hidden_size), **kw))
        self.register_parameter("bias_ih", Parameter(_C.empty(rows, **kw)) if bias else None)
        self.register_parameter("bias_hh", Parameter(_C.empty(rows, **kw)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self):
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self):
        s = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            s += f", bias={self.bias}"
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            s += f", nonlinearity={self.nonlinearity}"
        return s

    def _step(self, mode, input, states):
        """Checks the shapes; returns the new h and c (None but for the LSTM)."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.shape[-1]} expected {self.input_size}")
        h, c = states
        batch = input.shape[0] if input.dim() == 2 else 1
        for state in (h, c):
            if state is None:
                continue
            if state.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected hidden to be 1D or 2D, got {state.dim()}D instead")
            if (state.shape[0] if state.dim() == 2 else 1) != batch or state.shape[-1] != self.hidden_size:
                raise RuntimeError(f"{name}: hidden has shape {tuple(state.shape)}, expected "
                                   f"{(batch, self.hidden_size)} for input of shape {tuple(input.shape)}")
        return _C._rnn_cell(mode, input, h, c, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)


class RNNCell(RNNCellBase):
    """One step of an RNN: (B, I), (B, H) -> (B, H)."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step("RNN_TANH" if self.nonlinearity == "tanh" else "RNN_RELU", input, (hx, None))[0]


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (B, I), ((B, H), (B, H)) -> (h, c)."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        return self._step("LSTM", input, (None, None) if hx is None else hx)


class GRUCell(RNNCellBase):
    """One step of a GRU: (B, I), (B, H) -> (B, H)."""

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step("GRU", input, (hx, None))[0]
