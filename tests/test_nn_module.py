"""nn.Module: registration, attributes, state dicts, hooks, conversion, copying, printing; and the containers."""

import copy
import io
import pickle

import fireseed as fs
import pytest
from fireseed import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.register_buffer("scale", fs.ones(3))
        self.register_buffer("scratch", fs.zeros(2), persistent=False)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(3, 2, bias=False))
        self.gain = nn.Parameter(fs.tensor(2.0))

    def forward(self, x):
        return self.head(self.fc1(x) * self.scale) * self.gain


# ---- registration and attributes -----------------------------------------------------------------------------
def test_names():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == ["gain", "fc1.weight", "fc1.bias", "head.1.weight"]
    assert [n for n, _ in net.named_buffers()] == ["scale", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "fc1", "head", "head.0", "head.1"]
    assert [n for n, _ in net.named_children()] == ["fc1", "head"]
    assert list(net.state_dict()) == ["gain", "scale", "fc1.weight", "fc1.bias", "head.1.weight"]
    assert [n for n, _ in net.named_parameters(prefix="m", recurse=False)] == ["m.gain"]
    assert len(list(net.modules())) == 5 and len(list(net.children())) == 2 and len(list(net.buffers())) == 2


def test_shared_parameters_are_listed_once():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    twice = nn.Sequential(net[0], net[0])
    assert len(list(twice.named_modules())) == 2 and len(list(twice.named_modules(remove_duplicate=False))) == 3


def test_attributes_follow_the_tables():
    m = nn.Linear(2, 2)
    w = nn.Parameter(fs.zeros(2, 2))
    m.weight = w
    assert m._parameters["weight"] is w and m.weight is w
    m._parameters["weight"] = v = nn.Parameter(fs.ones(2, 2))
    assert m.weight is v
    del m._parameters["weight"]
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'weight'"):
        _ = m.weight
    m.weight = w
    del m.weight
    assert not hasattr(m, "weight") and list(m.state_dict()) == ["bias"]
    m.bias = None
    assert m.bias is None and "bias" in m._parameters and list(m.state_dict()) == []
    with pytest.raises(TypeError, match="cannot assign 'int' as parameter 'bias'"):
        m.bias = 3
    m.child = nn.ReLU()
    with pytest.raises(TypeError, match="cannot assign 'str' as child module 'child'"):
        m.child = "x"
    m.child = nn.Parameter(fs.zeros(1))
    assert "child" in m._parameters and "child" not in m._modules
    with pytest.raises(TypeError, match="as parameter 'child'"):
        m.child = nn.Tanh()
    m.plain = 3
    m.plain = nn.Parameter(fs.zeros(1))
    assert "plain" in m._parameters
    m.other = nn.Tanh()
    m._modules = {"only": nn.ReLU()}
    assert not hasattr(m, "other") and type(m.only) is nn.ReLU
    m._parameters.update(a=None)
    assert m.a is None and m._parameters.pop("a") is None and not hasattr(m, "a")


def test_buffers():
    m = nn.Module()
    m.register_buffer("b", fs.zeros(2))
    m.b = fs.ones(2)
    assert m._buffers["b"].tolist() == [1, 1] and list(m.state_dict()) == ["b"]
    with pytest.raises(TypeError, match="cannot assign 'list' as buffer 'b'"):
        m.b = [1]
    m.c = nn.Buffer(fs.zeros(3), persistent=False)
    assert list(m.state_dict()) == ["b"] and [n for n, _ in m.named_buffers()] == ["b", "c"]
    m.b = None
    assert list(m.state_dict()) == []
    m.d = fs.zeros(1)  # a plain tensor is no buffer
    assert [n for n, _ in m.named_buffers()] == ["c"]


@pytest.mark.parametrize(
    "act,kind,text",
    [
        (lambda m: m.register_parameter("a.b", None), KeyError, 'can\'t contain "."'),
        (lambda m: m.register_parameter("", None), KeyError, "empty string"),
        (lambda m: m.register_parameter("weight2", fs.zeros(2)), TypeError, "torch.nn.Parameter or None required"),
        (lambda m: m.register_parameter("forward", None), KeyError, "attribute 'forward' already exists"),
        (lambda m: m.register_buffer("weight", fs.zeros(2)), KeyError, "attribute 'weight' already exists"),
        (lambda m: m.add_module("x", 3), TypeError, "int is not a Module subclass"),
        (lambda m: m.add_module("a.b", nn.ReLU()), KeyError, "got: a.b"),
        (lambda m: m.register_buffer(3, None), TypeError, "buffer name should be a string. Got int"),
        (lambda m: m.get_submodule("nope"), AttributeError, "Linear has no attribute `nope`"),
        (lambda m: m.get_parameter("training"), AttributeError, "is not an nn.Parameter"),
        (lambda m: m.train("yes"), ValueError, "training mode is expected to be boolean"),
        (lambda m: m.to(fs.int64), TypeError, "only accepts floating point"),
        (lambda m: m.compile(), NotImplementedError, "compile"),
        (lambda m: nn.Module()(1), NotImplementedError, 'missing the required "forward" function'),
        (lambda m: nn.Module(3), TypeError, "takes 1 positional argument but 2 were given"),
        (lambda m: nn.Module(x=3), TypeError, "unexpected keyword argument 'x'"),
        (lambda m: m.load_state_dict([1]), TypeError, "Expected state_dict to be dict-like"),
    ],
)
def test_errors(act, kind, text):
    with pytest.raises(kind) as error:
        act(nn.Linear(2, 2))
    assert text in str(error.value.args[0])


def test_assignment_before_init():
    class Early(nn.Module):
        def __init__(self, value):
            self.value = value
            super().__init__()

    assert Early(3).value == 3
    with pytest.raises(AttributeError, match=r"cannot assign parameters before Module.__init__\(\) call"):
        Early(nn.Parameter(fs.zeros(1)))
    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Early(nn.ReLU())


def test_get_and_set_submodule():
    net = Net()
    assert net.get_submodule("head.1") is net.head[1] and net.get_submodule("") is net
    assert net.get_parameter("head.1.weight") is net.head[1].weight and net.get_buffer("scale") is net.scale
    net.set_submodule("head.0", nn.Tanh())
    assert type(net.head[0]) is nn.Tanh
    with pytest.raises(AttributeError):
        net.set_submodule("head.7", nn.Tanh(), strict=True)


def test_own_getattr():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.inner, name)

    w = Wrapper(nn.Linear(2, 3))
    assert w.out_features == 3 and type(w.inner) is nn.Linear
    with pytest.raises(AttributeError):
        _ = w.nothing


def test_no_cycle_keeps_modules_alive():
    import gc
    import weakref

    gc.collect()
    gc.disable()
    try:
        net = Net()
        gone = weakref.ref(net)
        del net
        assert gone() is None
    finally:
        gc.enable()


# ---- state dicts ---------------------------------------------------------------------------------------------
def test_load_state_dict():
    a, b = Net(), Net()
    assert str(b.load_state_dict(a.state_dict())) == "<All keys matched successfully>"
    x = fs.randn(5, 4)
    assert fs.equal(a(x), b(x))
    state = a.state_dict()
    state["fc1.weight"].zero_()  # shares memory
    assert float(a.fc1.weight.abs().sum()) == 0
    assert not any(v.requires_grad for v in state.values())
    assert all(v is p for (_, v), p in zip(a.fc1.state_dict(keep_vars=True).items(), a.fc1.parameters(), strict=False))


def test_load_errors():
    net = Net()
    state = net.state_dict()
    state["extra"] = state.pop("gain")
    state["fc1.weight"] = fs.zeros(3, 5)
    state["fc1.more"] = fs.zeros(1)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert text.startswith(
        'Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: "gain". \n\t'
        'Unexpected key(s) in state_dict: "extra", "fc1.more". \n\tsize mismatch for fc1.weight: '
        "copying a param with shape "
    )
    assert "from checkpoint, the shape in current model is" in text
    state["fc1.weight"] = fs.zeros(3, 4)
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["gain"] and result.unexpected_keys == ["extra", "fc1.more"]
    with pytest.raises(RuntimeError, match="expected .*Tensor.* from checkpoint but received <class 'int'>"):
        net.load_state_dict({**Net().state_dict(), "gain": 3})


def test_load_assign():
    net, state = Net(), Net().double().state_dict()
    net.load_state_dict(state, assign=True)
    assert (
        net.fc1.weight.dtype == fs.float64 and isinstance(net.fc1.weight, nn.Parameter) and net.fc1.weight.requires_grad
    )
    state["fc1.bias"].fill_(7)
    assert net.fc1.bias[0].item() == 7


def test_extra_state():
    class Counter(nn.Module):
        n = 0

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"]

    a, b = nn.Sequential(Counter()), nn.Sequential(Counter())
    a[0].n = 4
    assert list(a.state_dict()) == ["0._extra_state"]
    b.load_state_dict(a.state_dict())
    assert b[0].n == 4
    with pytest.raises(RuntimeError, match="Missing key"):
        b.load_state_dict({})


def test_state_dict_hooks():
    net, seen = nn.Linear(2, 2), []
    net.register_state_dict_pre_hook(lambda m, prefix, keep: seen.append("pre"))
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(note=fs.zeros(1)))
    net.register_load_state_dict_pre_hook(lambda m, state, *rest: state.pop("note"))
    net.register_load_state_dict_post_hook(lambda m, keys: seen.append(len(keys.missing_keys)))
    state = net.state_dict()
    assert "note" in state and seen == ["pre"]
    net.load_state_dict(state)
    assert seen[-1] == 0 and state._metadata[""] == {"version": 1}


# ---- hooks ---------------------------------------------------------------------------------------------------
def test_forward_hooks():
    m, calls = nn.Linear(2, 2, bias=False), []
    with fs.no_grad():
        m.weight.copy_(fs.eye(2))
    h1 = m.register_forward_pre_hook(lambda mod, args: calls.append("pre") or (args[0] + 1,))
    h2 = m.register_forward_hook(lambda mod, args, out: calls.append("post") or out * 10)
    assert m(fs.zeros(1, 2)).tolist() == [[10, 10]] and calls == ["pre", "post"]
    h1.remove()
    assert m(fs.zeros(1, 2)).tolist() == [[0, 0]]
    with h2:
        pass
    assert m(fs.ones(1, 2)).tolist() == [[1, 1]]
    m.register_forward_hook(lambda *a: calls.append("b"))
    m.register_forward_hook(lambda *a: calls.append("a"), prepend=True)
    calls.clear()
    m(fs.ones(1, 2))
    assert calls == ["a", "b"]


def test_hooks_with_kwargs():
    class Add(nn.Module):
        def forward(self, x, y=0):
            return x + y

    m = Add()
    m.register_forward_pre_hook(lambda mod, args, kwargs: (args, {"y": kwargs["y"] * 2}), with_kwargs=True)
    m.register_forward_hook(lambda mod, args, kwargs, out: out + kwargs["y"], with_kwargs=True)
    assert m(fs.tensor(1), y=3).item() == 13
    m.register_forward_pre_hook(lambda mod, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
        m(1, y=1)


def test_always_called_hook():
    class Bad(nn.Module):
        def forward(self, x):
            raise KeyError("bad")

    m, calls = Bad(), []
    m.register_forward_hook(lambda *a: calls.append(1), always_call=True)
    m.register_forward_hook(lambda *a: calls.append(2))
    with pytest.raises(KeyError):
        m(1)
    assert calls == [1]


def test_backward_hooks():
    m, calls = nn.Linear(3, 2), []
    m.register_full_backward_hook(lambda mod, gi, go: calls.append((gi[0].shape, go[0].shape)))
    m.register_full_backward_pre_hook(lambda mod, go: (go[0] * 2,))
    x = fs.ones(4, 3, requires_grad=True)
    m(x).sum().backward()
    assert [tuple(map(tuple, c)) for c in calls] == [((4, 3), (4, 2))]
    assert fs.allclose(x.grad, 2 * m.weight.detach().sum(0).expand(4, 3))
    m.register_full_backward_hook(lambda mod, gi, go: (gi[0] * 0,))
    x.grad = None
    m(x).sum().backward()
    assert float(x.grad.abs().sum()) == 0
    seen = []
    n = nn.Linear(3, 2)  # no input needs a gradient
    n.register_full_backward_hook(lambda mod, gi, go: seen.append(gi))
    n(fs.ones(1, 3)).sum().backward()
    assert seen == [(None,)]


def test_global_hooks():
    from fireseed.nn.modules.module import register_module_forward_hook

    seen = []
    with register_module_forward_hook(lambda m, a, o: seen.append(type(m).__name__)):
        nn.Sequential(nn.Linear(2, 2), nn.ReLU())(fs.zeros(1, 2))
    assert seen == ["Linear", "ReLU", "Sequential"]
    nn.ReLU()(fs.zeros(1))
    assert len(seen) == 3


# ---- conversion, modes, copying ------------------------------------------------------------------------------
def test_conversion():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    w = net[0].weight
    net(fs.randn(3, 2)).sum().backward()
    assert net.double() is net and net[0].weight is w and w.dtype == fs.float64 and w.grad.dtype == fs.float64
    assert net[1].num_batches_tracked.dtype == fs.int64
    assert net.half()[0].weight.dtype == fs.float16 and net.bfloat16()[0].weight.dtype == fs.bfloat16
    assert net.float().to(fs.float64)[1].running_mean.dtype == fs.float64
    assert net.to("cpu", fs.float32)[0].weight.dtype == fs.float32
    assert net.to(fs.zeros(1, dtype=fs.float64))[0].weight.dtype == fs.float64
    assert net.cpu().type(fs.float32)[0].weight.dtype == fs.float32


def test_modes():
    net = Net()
    assert net.training and not net.eval().training and not net.head[1].training and net.train().head[0].training
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(fs.randn(2, 4)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all(float(p.grad.abs().sum()) == 0 for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    names = []
    net.apply(lambda m: names.append(type(m).__name__))
    assert names == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "copy"])
def test_copies(how):
    net = Net()
    net.fc1.register_forward_hook(_hook)
    if how == "deepcopy":
        other = copy.deepcopy(net)
    elif how == "copy":
        other = copy.copy(net)
    else:
        other = pickle.load(io.BytesIO(pickle.dumps(net)))
    x = fs.randn(2, 4)
    assert fs.equal(net(x), other(x))
    assert list(net.state_dict()) == list(other.state_dict())
    if how != "copy":
        assert (
            other.fc1.weight is not net.fc1.weight and other.fc1.weight is other._modules["fc1"]._parameters["weight"]
        )
        with fs.no_grad():
            other.gain.fill_(0.0)
        assert net.gain.item() == 2.0
    other.fc1 = nn.Identity()  # the copy's tables are its own
    assert type(net.fc1) is nn.Linear
    assert isinstance(other.gain, nn.Parameter) and other.gain.requires_grad


def _hook(module, args, out):
    return out * 3


def test_parameter():
    p = nn.Parameter(fs.zeros(2))
    assert p.requires_grad and p.is_leaf and isinstance(p, fs.Tensor) and not nn.Parameter(p, False).requires_grad
    assert repr(p).startswith("Parameter containing:\ntensor([0., 0.], requires_grad=True)")
    q = copy.deepcopy(p)
    assert type(q) is nn.Parameter and q is not p and q.requires_grad
    q = pickle.loads(pickle.dumps(nn.Parameter(fs.ones(2), requires_grad=False)))
    assert type(q) is nn.Parameter and not q.requires_grad and q.tolist() == [1, 1]
    assert type(p * 2) is fs.Tensor and type(p.detach()) is fs.Tensor
    assert nn.Parameter().numel() == 0
    with pytest.raises(TypeError):
        nn.Parameter([1.0])


# ---- printing and containers ---------------------------------------------------------------------------------
def test_repr():
    net = Net()
    assert (
        repr(net)
        == """Net(
  (fc1): Linear(in_features=4, out_features=3, bias=True)
  (head): Sequential(
    (0): ReLU()
    (1): Linear(in_features=3, out_features=2, bias=False)
  )
)"""
    )
    assert (
        repr(nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])) == "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()" and repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.ParameterList([fs.zeros(2, 3)])).startswith("ParameterList(  (0): Parameter containing: [")


def test_sequential():
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    s = nn.Sequential(a, b)
    s.append(c)
    assert len(s) == 3 and s[0] is a and s[-1] is c and list(s) == [a, b, c] and list(s[1:]) == [b, c]
    s[1] = t = nn.Tanh()
    assert s[1] is t and getattr(s, "1") is t
    s.insert(0, b)
    assert list(s) == [b, a, t, c] and list(s.state_dict())[0] == "1.weight"
    del s[0]
    assert list(s) == [a, t, c] and s.pop(1) is t and list(s) == [a, c]
    s.extend([b])
    assert list(s + nn.Sequential(t)) == [a, c, b, t] and len(s * 2) == 6
    with pytest.raises(IndexError):
        s[5]
    from collections import OrderedDict

    named = nn.Sequential(OrderedDict(first=a, act=b))
    assert named.first is a and list(named.state_dict()) == ["first.weight", "first.bias"]


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    layers.append(nn.ReLU())
    layers.insert(0, nn.Tanh())
    assert len(layers) == 5 and type(layers[0]) is nn.Tanh and type(layers[-1]) is nn.ReLU and len(layers[1:3]) == 2
    layers += [nn.ELU()]
    del layers[0]
    assert [type(m).__name__ for m in layers] == ["Linear", "Linear", "Linear", "ReLU", "ELU"]
    assert len(layers + layers) == 10
    with pytest.raises(IndexError):
        layers[9]
    table = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    table["c"] = nn.Tanh()
    table.update([("d", nn.ELU())])
    assert (
        list(table) == ["a", "b", "c", "d"] and "b" in table and len(table) == 4 and list(table.keys()) == list(table)
    )
    assert type(table.pop("a")) is nn.ReLU and "a" not in table
    with pytest.raises(KeyError, match="already exists"):
        table["keys"] = nn.ReLU()
    table.clear()
    assert len(table) == 0


def test_parameter_list_and_dict():
    ps = nn.ParameterList([fs.zeros(2), nn.Parameter(fs.ones(1))])
    ps.append(fs.zeros(3))
    assert len(ps) == 3 and all(isinstance(p, nn.Parameter) for p in ps) and len(list(ps.parameters())) == 3
    assert list(ps.state_dict()) == ["0", "1", "2"] and len(ps[1:]) == 2 and ps.pop().numel() == 3
    d = nn.ParameterDict({"w": fs.zeros(2), "b": fs.ones(1)})
    d["x"] = fs.zeros(4)
    assert sorted(d) == ["b", "w", "x"] and isinstance(d["w"], nn.Parameter) and list(d.state_dict()) == ["b", "w", "x"]
    assert d.get("none", 5) == 5 and d.pop("x").numel() == 4 and len(d | {"y": fs.zeros(1)}) == 3
    with pytest.raises(RuntimeError, match="should not be called"):
        d(1)
