# Optimizers: PyTorch's numbers (tables made with PyTorch 2.13), state dicts, groups, hooks, errors.
import copy
import math
import pickle

import numpy as np
import pytest
from under_test import IS_FIRESEED, lib, nn, raises_with, to_numpy

optim = lib.optim
S = optim.lr_scheduler


def problem(dtype=None):
    """Three parameters with fixed values."""
    dtype = dtype or lib.float64
    shapes = [(3, 2), (4,), ()]
    return [(lib.arange(1.0, 1 + math.prod(s), dtype=dtype).reshape(s) / 7 - 0.5 * i).detach().requires_grad_()
            for i, s in enumerate(shapes)]


def loss_of(params):
    return sum(((p * (1 + 0.5 * i) - 0.3) ** 2).sum() + 0.1 * (p**4).sum() for i, p in enumerate(params))


def run(opt, params, steps=6):
    for _ in range(steps):
        opt.zero_grad()
        loss_of(params).backward()
        opt.step()


# (optimizer, options) -> all parameters after six steps in double precision.
CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"lr": 0.02, "momentum": 0.8, "dampening": 0.3, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1, "betas": (0.8, 0.9)}),
    ("Adam", {"lr": 0.05, "betas": (0.3, 0.9), "maximize": True}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.2}),
    ("RMSprop", {"lr": 0.03}),
    ("RMSprop", {"lr": 0.03, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.1}),
    ("Adadelta", {"lr": 1.0, "rho": 0.8, "eps": 1e-3}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05, "betas": (0.9, 0.7), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adamax", {"lr": 0.05, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "t0": 2, "lambd": 0.01}),
    ("Rprop", {"lr": 0.05}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1}),
]
EXPECTED = [
    [0.2572316500673, 0.2926500902491, 0.3265086463557, 0.3584004990275, 0.3880155843941, 0.4151442302482,
     0.1843817699621, 0.1881991884569, 0.1920558103056, 0.1959021413633, 0.1497784563583],
    [0.3256662681581, 0.2800613136972, 0.230474653316, 0.1754165855112, 0.1135720201311, 0.04381892011514,
     0.5963394612572, 0.493373592411, 0.3898707144017, 0.2857233731, 0.4344551153225],
    [0.3091079995281, 0.2957921623843, 0.2803041110784, 0.2619757516924, 0.2402689664946, 0.2147799691566,
     0.3344815856191, 0.3001110406004, 0.2654664254903, 0.2306147765608, 0.1575430841196],
    [0.06129249185658, 0.2806826030647, 0.5045704185741, 0.7356633140424, 0.9769016223025, 1.231566376752,
     -1.110916151603, -0.7668300230806, -0.4308483866219, -0.0985405846711, -4.104309171029],
    [0.367296652685, 0.2862579734825, 0.2237295144356, 0.2936443119536, 0.4249506369897, 0.5641180671899,
     -0.06323092767684, 0.07585610644796, 0.2064057410704, 0.2679013011778, -0.5598696084669],
    [0.3365098930572, 0.2820110348255, 0.2245253898281, 0.2974951956182, 0.425903500184, 0.5644146832897,
     -0.0638429586339, 0.07404370373165, 0.1987849684499, 0.2449106443432, -0.5601028707885],
    [-0.200287847758, -0.08631978636496, 0.7774354712955, 0.90541570767, 1.040891348366, 1.179459929889,
     -0.6762081829425, -0.537866436993, -0.4028601996376, -0.2759878094929, -1.169191756158],
    [0.3587424313655, 0.2901069848264, 0.2186458212679, 0.2721993222129, 0.3929456927867, 0.5230727284425,
     -0.05022202864602, 0.08059246207796, 0.2033780466878, 0.2624068184446, -0.5176593073364],
    [0.2937949364048, 0.2948721941202, 0.2960101099086, 0.2948721962955, 0.2956159940888, 0.3104948956603,
     0.1900312503326, 0.1990699963311, 0.1992953971352, 0.198414892863, -0.05744831368122],
    [0.3146777383077, 0.2479104887571, 0.2484441150072, 0.3080505581288, 0.3188948708939, 0.2511241644136,
     0.1928891132067, 0.1455464638539, 0.1899193712209, 0.2301996293861, 0.25817831501],
    [0.2871026959357, 0.2948324000236, 0.2998412667317, 0.3504395602473, 0.4520767708802, 0.575595050324,
     -0.06890464288262, 0.05537084272672, 0.1569985916719, 0.1987666642746, -0.5473638764499],
    [0.2948189524614, 0.2830149661463, 0.2948764237251, 0.3153140266457, 0.392665108843, 0.501862962563,
     0.005580042645414, 0.1116410457477, 0.1835494626638, 0.1992963101324, -0.4482849308997],
    [0.2868282630707, 0.283037576659, 0.2788909126808, 0.3720110770849, 0.5003072485445, 0.6366721292161,
     -0.1353676154196, -1.981414844075e-05, 0.1251923700766, 0.2026999141105, -0.6266465573974],
    [0.2930699858941, 0.2931370271894, 0.2853654518301, 0.3639702885875, 0.4858011109111, 0.6172002705714,
     -0.1284377968285, 0.003093419151599, 0.1252866395274, 0.2045780903786, -0.6054129785764],
    [0.2140353037256, 0.291213297296, 0.3634983984097, 0.4346913462367, 0.5013727458321, 0.5626416538337,
     0.1313245995627, 0.148367285653, 0.1663134607753, 0.1844608951069, 0.4175440920476],
    [0.219645326574, 0.2833281645727, 0.3443996108503, 0.4017787865286, 0.4544715889255, 0.5015883498154,
     0.1898008928604, 0.1905645440932, 0.1921358462905, 0.1938709176674, 0.4831843833543],
    [0.3198002924509, 0.3069797357169, 0.2465816854961, 0.338206037578, 0.461946702721, 0.5950526975971,
     -0.09267209910104, 0.0388234663473, 0.1588536026816, 0.2361825081664, -0.5776314036149],
    [0.2563380028713, 0.2916012842163, 0.3253173239719, 0.3570814745812, 0.3865848214893, 0.4136178701616,
     0.1839794115804, 0.1877905839946, 0.1916410627741, 0.195481436987, 0.1495912525548],
    [0.2888571428571, 0.2957142857143, 0.3257714285714, 0.1993485714286, 0.2177897142857, 0.3606468571429,
     0.1393531428571, 0.2822102857143, 0.3006514285714, 0.1742285714286, -0.3606468571429],
    [0.2929370793431, 0.2917598534467, 0.2952398434451, 0.3288673192686, 0.4452088663843, 0.5711433264404,
     -0.2342277225785, -0.1009261384942, 0.03089750348375, 0.1552992508404, -0.4543822040192],
]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_six_steps_are_pytorchs(case):
    name, options = CASES[case]
    params = problem()
    run(getattr(optim, name)(params, **options), params)
    got = np.concatenate([to_numpy(p).reshape(-1) for p in params])
    np.testing.assert_allclose(got, EXPECTED[case], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "NAdam", "Adamax", "Rprop"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_low_precision_follows_double(name, dtype):
    options = {"lr": 0.05, "momentum": 0.9} if name == "SGD" else {"lr": 0.05}
    results = []
    for t in (getattr(lib, dtype), lib.float64):
        params = problem(t)
        run(getattr(optim, name)(params, **options), params)
        assert params[0].dtype == t
        results.append(np.concatenate([to_numpy(p).reshape(-1) for p in params]).astype(np.float64))
    np.testing.assert_allclose(results[0], results[1], atol={"float32": 1e-5, "float16": 1e-2, "bfloat16": 8e-2}[dtype])


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_large_tensors_match_small_ones(name):
    # Pieces of large tensors, and strided parameters, are stepped as single numbers are.
    start = lib.linspace(-2, 2, 70000).double()
    small = [start[::1000].clone().requires_grad_()]
    large = [start.clone().reshape(700, 100).requires_grad_(), start.clone().reshape(100, 700).t().requires_grad_()]
    assert large[1].is_leaf
    options = {"lr": 0.05, "momentum": 0.9} if name == "SGD" else {"lr": 0.05}
    for params in (small, large):
        opt = getattr(optim, name)(params, **options)
        for _ in range(4):
            opt.zero_grad()
            sum(((p - 0.3) ** 2).sum() for p in params).backward()
            opt.step()
    expected = to_numpy(small[0])
    np.testing.assert_allclose(to_numpy(large[0].reshape(-1)[::1000]), expected, rtol=1e-12)
    np.testing.assert_allclose(to_numpy(large[1].t().reshape(-1)[::1000]), expected, rtol=1e-12)


def test_same_bits_for_any_number_of_threads():
    threads = lib.get_num_threads()
    results = []
    try:
        for n in (1, 2, 3):
            lib.set_num_threads(n)
            p = lib.linspace(-1, 1, 100000).requires_grad_()
            opt = optim.Adam([p], lr=0.01)
            for _ in range(3):
                opt.zero_grad()
                (p**2).backward(lib.ones(100000))
                norm = nn.utils.clip_grad_norm_([p], 1.0)
                opt.step()
            results.append((p.detach().clone(), norm))
    finally:
        lib.set_num_threads(threads)
    for p, norm in results[1:]:
        assert lib.equal(p, results[0][0]) and lib.equal(norm, results[0][1])


def test_parameters_without_gradient_are_left_alone():
    params = problem()
    opt = optim.Adam(params, lr=0.1)
    before = params[1].detach().clone()
    for k in range(4):
        opt.zero_grad()
        loss_of([params[0], params[2]] if k < 2 else params).backward()
        opt.step()
        assert (k >= 2) or lib.equal(params[1].detach(), before)
    assert opt.state[params[0]]["step"].item() == 4
    assert opt.state[params[1]]["step"].item() == 2
    assert not lib.equal(params[1].detach(), before)


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_gradients_may_come_and_go(case):
    # Each group steps just where it has a gradient, as if it had an optimizer of its own.
    name, options = CASES[case]
    together, alone = problem()[:2], problem()[:2]
    opt = getattr(optim, name)([{"params": [p]} for p in together], **options)
    own = [getattr(optim, name)([p], **options) for p in alone]
    for present in [(), (0,), (0,), (0, 1), (1,), (), (0, 1), (0, 1)]:
        for params in (together, alone):
            for i, p in enumerate(params):
                p.grad = p.detach() * 0.5 + 0.1 if i in present else None
        before = [p.detach().clone() for p in together]
        opt.step()
        for i in present:
            own[i].step()
            assert not lib.equal(together[i].detach(), before[i])
        for a, b in zip(together, alone):
            assert lib.equal(a.detach(), b.detach())


def test_expanded_parameters_are_refused():
    p = nn.Parameter(lib.ones(1).expand(3))
    p.sum().backward()
    with raises_with(RuntimeError, "single memory location"):
        optim.SGD([p], lr=0.1).step()


def test_groups_have_their_own_options():
    params = problem()
    opt = optim.SGD([{"params": params[:2]}, {"params": params[2], "lr": 0.0}], lr=0.1)
    last = params[2].item()
    run(opt, params, 2)
    assert params[2].item() == last
    opt.param_groups[1]["lr"] = 0.1
    run(opt, params, 1)
    assert params[2].item() != last
    extra = lib.ones(2, requires_grad=True)
    opt.add_param_group({"params": [extra], "momentum": 0.5})
    assert [g["momentum"] for g in opt.param_groups] == [0, 0, 0.5]
    extra.grad = lib.ones(2)
    opt.step()
    assert extra.tolist() == pytest.approx([0.9, 0.9])


def test_changed_options_take_effect():
    a, b = problem(), problem()
    first = optim.SGD(a, lr=0.05)
    second = optim.SGD(b, lr=0.05)
    run(first, a, 2)
    run(second, b, 2)
    first.param_groups[0]["momentum"] = 0.9
    for group in second.param_groups:
        group["lr"] = 0.5
        group["lr"] = 0.05
    run(first, a, 3)
    c = [p.detach().clone().requires_grad_() for p in b]
    run(optim.SGD(c, lr=0.05, momentum=0.9), c, 3)
    for x, y in zip(a, c):
        np.testing.assert_allclose(to_numpy(x), to_numpy(y), rtol=1e-12)


def test_replaced_state_is_used():
    p = lib.ones(3, dtype=lib.float64, requires_grad=True)
    opt = optim.SGD([p], lr=0.1, momentum=0.5)
    p.grad = lib.ones(3, dtype=lib.float64)
    opt.step()
    opt.step()
    opt.state[p]["momentum_buffer"] = lib.zeros(3, dtype=lib.float64)
    before = p.detach().clone()
    opt.step()
    np.testing.assert_allclose(to_numpy(before - p.detach()), 0.1)
    opt.state.clear()
    opt.step()
    np.testing.assert_allclose(to_numpy(before - p.detach()), 0.2)


def test_gradients_are_not_kept_alive_and_data_may_change():
    p = lib.ones(3, requires_grad=True)
    opt = optim.Adam([p], lr=0.1)
    for _ in range(2):
        p.grad = lib.ones(3)
        opt.step()
    opt.zero_grad()
    assert p.grad is None
    p.data = lib.zeros(3)
    p.grad = lib.ones(3)
    opt.step()
    assert (p.detach() < 0).all()
    opt.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "ASGD", "Adafactor"])
def test_state_dict_round_trip(name):
    options = {"lr": 0.05}
    if name == "SGD":
        options["momentum"] = 0.9
    a = problem()
    first = getattr(optim, name)(a, **options)
    run(first, a, 3)
    saved = copy.deepcopy(first.state_dict())
    assert set(saved) == {"state", "param_groups"} and sorted(saved["state"]) == [0, 1, 2]
    assert saved["param_groups"][0]["params"] == [0, 1, 2]
    b = [p.detach().clone().requires_grad_() for p in a]
    second = getattr(optim, name)(b, lr=1.0)
    second.load_state_dict(saved)
    assert second.param_groups[0]["lr"] == 0.05
    run(first, a, 3)
    run(second, b, 3)
    for x, y in zip(a, b):
        np.testing.assert_allclose(to_numpy(x), to_numpy(y), rtol=1e-7 if name == "NAdam" else 0)


def test_state_names_are_pytorchs():
    expected = {
        "SGD": ["momentum_buffer"],
        "Adam": ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "step"],
        "RMSprop": ["grad_avg", "momentum_buffer", "square_avg", "step"],
        "Adagrad": ["step", "sum"],
        "Adadelta": ["acc_delta", "square_avg", "step"],
        "NAdam": ["exp_avg", "exp_avg_sq", "mu_product", "step"],
        "RAdam": ["exp_avg", "exp_avg_sq", "step"],
        "Adamax": ["exp_avg", "exp_inf", "step"],
        "ASGD": ["ax", "eta", "mu", "step"],
        "Rprop": ["prev", "step", "step_size"],
        "Adafactor": ["col_var", "row_var", "step"],
    }
    options = {"SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "RMSprop": {"centered": True, "momentum": 0.1}}
    for name, keys in expected.items():
        params = problem()
        opt = getattr(optim, name)(params, lr=0.01, **options.get(name, {}))
        run(opt, params, 2)
        assert sorted(opt.state[params[0]]) == keys, name
        if "step" in keys:
            assert opt.state[params[0]]["step"].item() == 2 and opt.state[params[0]]["step"].dtype == lib.float32


def test_load_state_dict_errors():
    params = problem()
    opt = optim.SGD(params, lr=0.1)
    saved = optim.SGD(params[:1], lr=0.1).state_dict()
    with raises_with(ValueError, "doesn't match the size"):
        opt.load_state_dict(saved)
    with raises_with(ValueError, "different number of parameter groups"):
        opt.load_state_dict({"state": {}, "param_groups": []})


def test_copies_and_pickles():
    params = problem()
    opt = optim.Adam(params, lr=0.1)
    run(opt, params, 2)
    other = copy.deepcopy(opt)
    assert other.param_groups[0]["params"][0] is not params[0]
    assert other.state_dict()["state"][0]["step"].item() == 2
    again = pickle.loads(pickle.dumps(opt))
    assert again.param_groups[0]["lr"] == 0.1 and again.state_dict()["state"][1]["step"].item() == 2
    for p in again.param_groups[0]["params"]:
        p.grad = lib.ones_like(p)
    again.step()
    assert again.state_dict()["state"][1]["step"].item() == 3 and opt.state_dict()["state"][1]["step"].item() == 2


def test_closure_and_hooks():
    params = problem()
    opt = optim.SGD(params, lr=0.1)
    seen = []
    handles = [opt.register_step_pre_hook(lambda o, args, kwargs: seen.append("before")),
               opt.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))]

    def closure():
        assert lib.is_grad_enabled()
        opt.zero_grad()
        loss = loss_of(params)
        loss.backward()
        seen.append("closure")
        return loss

    with lib.no_grad():
        loss = opt.step(closure)
    assert loss.item() > 0 and seen == ["before", "closure", "after"]
    for h in handles:
        h.remove()
    opt.step()
    assert len(seen) == 3


def test_own_optimizers():
    class Plain(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @lib.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad

    a, b = problem(), problem()
    run(Plain(a, 0.1), a)
    run(optim.SGD(b, lr=0.1), b)
    for x, y in zip(a, b):
        np.testing.assert_allclose(to_numpy(x), to_numpy(y), rtol=1e-12)
    opt = Plain(a, 0.1)
    seen = []
    opt.register_step_post_hook(lambda *args: seen.append(1))
    run(opt, a, 1)
    assert seen == [1]


def test_repr():
    opt = optim.SGD(problem(), lr=0.1, momentum=0.9)
    text = repr(opt)
    assert text.startswith("SGD (\nParameter Group 0\n") and text.endswith("\n)")
    assert "    lr: 0.1\n" in text and "    momentum: 0.9\n" in text and "params" not in text
    p = problem()
    text = repr(optim.SGD([{"params": p[:1]}, {"params": p[1:], "lr": 0.5}], lr=0.1))
    assert "\n\nParameter Group 1\n" in text and text.count("\n\n") == 1 and "    lr: 0.5\n" in text


def test_construction_errors():
    p = problem()
    for error, words, make in [
        (ValueError, "Invalid learning rate: -1", lambda: optim.SGD(p, lr=-1)),
        (ValueError, "Invalid momentum value: -1", lambda: optim.SGD(p, momentum=-1)),
        (ValueError, "Nesterov momentum requires", lambda: optim.SGD(p, nesterov=True)),
        (ValueError, "Invalid beta parameter at index 0: 1.0", lambda: optim.Adam(p, betas=(1.0, 0.9))),
        (ValueError, "Invalid epsilon value: -1", lambda: optim.Adam(p, eps=-1)),
        (ValueError, "Invalid weight_decay value: -1", lambda: optim.RMSprop(p, weight_decay=-1)),
        (ValueError, "Invalid rho value: 2", lambda: optim.Adadelta(p, rho=2)),
        (ValueError, "Invalid eta values", lambda: optim.Rprop(p, etas=(2, 1))),
        (ValueError, "empty parameter list", lambda: optim.SGD([])),
        (TypeError, "iterable of Tensors or dicts", lambda: optim.SGD(p[0])),
        (TypeError, "can only optimize Tensors", lambda: optim.SGD([1.0])),
        (TypeError, "ordered collections", lambda: optim.SGD([{"params": set(p)}])),
        (ValueError, "non-leaf", lambda: optim.SGD([p[0] * 2])),
        (ValueError, "more than one parameter group", lambda: optim.SGD([{"params": p}, {"params": p[:1]}])),
        (ValueError, "Muon only supports 2D", lambda: optim.Muon(p)),
        (ValueError, "parameter groups", lambda: optim.LBFGS([{"params": p[:1]}, {"params": p[1:]}])),
    ]:
        with raises_with(error, words):
            make()


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_minimises(line_search):
    xy = lib.tensor([-1.2, 1.0], dtype=lib.float64, requires_grad=True)
    opt = optim.LBFGS([xy], lr=1.0 if line_search else 0.002, max_iter=60, line_search_fn=line_search)

    def closure():
        opt.zero_grad()
        loss = (1 - xy[0]) ** 2 + 100 * (xy[1] - xy[0] ** 2) ** 2  # Rosenbrock
        loss.backward()
        return loss

    start = closure().item()
    for _ in range(3):
        opt.step(closure)
    if line_search:
        np.testing.assert_allclose(xy.tolist(), [1, 1], atol=1e-4)
    else:
        assert closure().item() < start


def test_muon_turns_updates_orthogonal():
    lib.manual_seed(0)
    w = lib.randn(6, 4).requires_grad_()
    before = w.detach().clone()
    w.grad = lib.randn(6, 4)
    optim.Muon([w], lr=1.0, weight_decay=0.0).step()
    update = (before - w.detach()) / math.sqrt(6 / 4)
    singular = np.linalg.svd(to_numpy(update))[1]
    assert singular.min() > 0.5 and singular.max() < 1.4


@pytest.mark.skipif(not IS_FIRESEED, reason="not in PyTorch")
def test_lion_and_ftrl_follow_their_papers():
    g = np.array([0.5, -2.0, 0.0])
    start = np.array([1.0, -1.0, 0.5])
    p = lib.tensor(start.tolist(), dtype=lib.float64, requires_grad=True)
    opt = optim.Lion([p], lr=0.1, betas=(0.9, 0.99), weight_decay=0.1)
    x, m = start.copy(), np.zeros(3)
    for k in range(4):
        grad = g * (-1) ** (k // 2)
        p.grad = lib.tensor(grad.tolist(), dtype=lib.float64)
        opt.step()
        x = x * (1 - 0.01) - 0.1 * np.sign(0.9 * m + 0.1 * grad)
        m = 0.99 * m + 0.01 * grad
    np.testing.assert_allclose(to_numpy(p), x, rtol=1e-12)

    for power in (-0.5, -0.3):
        p = lib.tensor(start.tolist(), dtype=lib.float64, requires_grad=True)
        opt = optim.Ftrl([p], lr=0.2, lr_power=power, l1=0.3, l2=0.1, l2_shrinkage=0.05, beta=0.4)
        x, n, z = start.copy(), np.full(3, 0.1), np.zeros(3)
        for k in range(4):
            grad = g + 0.1 * k
            p.grad = lib.tensor(grad.tolist(), dtype=lib.float64)
            opt.step()
            new = n + grad**2
            z += grad + 2 * 0.05 * x - (new**-power - n**-power) / 0.2 * x
            x = (np.clip(z, -0.3, 0.3) - z) / (new**-power / 0.2 + 2 * (0.1 + 0.4 / (2 * 0.2)))
            n = new
        np.testing.assert_allclose(to_numpy(p), x, rtol=1e-9, atol=1e-12)


def test_clipping():
    params = [lib.ones(3, requires_grad=True), lib.ones(2, 2, requires_grad=True), lib.ones(1, requires_grad=True)]
    params[0].grad = lib.tensor([3.0, 0.0, -4.0])
    params[1].grad = lib.full((2, 2), 6.0)
    norm = nn.utils.clip_grad_norm_(params, 2.0)
    assert norm.item() == pytest.approx(13.0)
    np.testing.assert_allclose(to_numpy(params[0].grad), np.array([3, 0, -4]) * 2 / 13, rtol=1e-6)
    assert nn.utils.clip_grad_norm_(params, 100.0).item() == pytest.approx(2.0)
    params[1].grad.fill_(6.0)
    nn.utils.clip_grad_value_(params, 0.25)
    assert params[1].grad.tolist() == [[0.25, 0.25], [0.25, 0.25]]
    assert nn.utils.clip_grad_norm_(params, 1.0, float("inf")).item() == pytest.approx(0.6153846, rel=0.6)
    params[0].grad[0] = float("nan")
    with raises_with(RuntimeError, "non-finite"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
