"""Reference cycles through tensors are collected, and nothing that is still in use is."""
import gc
import weakref

import pytest
from under_test import IS_FIRESEED, nn
from under_test import lib as fs


class Marker:
    """What a cycle holds on to; its weak reference tells whether the cycle is gone."""


def own_attribute():
    x, m = fs.ones(2), Marker()
    x.me, x.marker = x, m
    return m


def own_dict():
    x, m = fs.ones(2), Marker()
    vars(x).update(me=x, marker=m)
    return m


def through_a_list():
    x, m = fs.ones(2), Marker()
    x.items = [x, m]
    return m


def parameter_knows_its_module():
    module, m = nn.Linear(2, 2), Marker()
    module.weight.owner, module.marker = module, m
    return m


def hook_closes_over_the_leaf():
    x, m = fs.ones(2, requires_grad=True), Marker()
    x.register_hook(lambda g: (x, m) and None)
    return m


def hook_closes_over_the_module():
    module, m = nn.Linear(2, 2), Marker()
    module.weight.register_hook(lambda g: (module, m) and None)
    module(fs.ones(1, 2)).sum().backward()
    return m


def function_keeps_its_output():
    m = Marker()

    class Keep(fs.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.y, ctx.marker = x * 2, m
            return ctx.y

        @staticmethod
        def backward(ctx, g):
            return g * 2

    y = Keep.apply(fs.ones(2, requires_grad=True))
    y.sum().backward()
    return m


@pytest.mark.parametrize(
    "make",
    [own_attribute, own_dict, through_a_list, parameter_knows_its_module, hook_closes_over_the_leaf,
     hook_closes_over_the_module, function_keeps_its_output],
    ids=lambda f: f.__name__,
)
def test_cycle_is_collected(make):
    gone = weakref.ref(make())
    gc.collect()
    assert gone() is None


def test_what_the_graph_still_needs_stays():
    calls = []
    x = fs.ones(2, requires_grad=True)
    x.register_hook(lambda g, keep=[x]: calls.append(g.tolist()))
    y = (x * 3).sum()
    del x
    gc.collect()
    y.backward()
    assert calls == [[3.0, 3.0]]


def test_ctx_may_outlive_its_graph():
    kept = []

    class Keep(fs.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            kept.append(ctx)
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    Keep.apply(fs.ones(2, requires_grad=True))
    gc.collect()
    if IS_FIRESEED:
        with pytest.raises(RuntimeError, match="what it saved"):
            print(kept[0].saved_tensors)
