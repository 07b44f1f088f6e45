# Learning-rate schedules: PyTorch's numbers (tables made with PyTorch 2.13), resuming, warnings, errors.
import copy
import warnings

import numpy as np
import pytest
from test_optim import problem
from under_test import lib, nn, raises_with

optim = lib.optim
S = optim.lr_scheduler


# Schedules: the learning rates of two groups (0.1 and 0.05) after each of twelve steps.
SCHEDULES = {
    "LambdaLR": lambda o: S.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 / (1 + e)]),
    "MultiplicativeLR": lambda o: S.MultiplicativeLR(o, lambda e: 0.9),
    "StepLR": lambda o: S.StepLR(o, 3),
    "MultiStepLR": lambda o: S.MultiStepLR(o, [2, 5, 5, 7], 0.5),
    "ConstantLR": lambda o: S.ConstantLR(o, 0.5, 4),
    "LinearLR": lambda o: S.LinearLR(o, 0.25, 0.8, 6),
    "ExponentialLR": lambda o: S.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: S.PolynomialLR(o, 9, 2.0),
    "CosineAnnealingLR": lambda o: S.CosineAnnealingLR(o, 5, 0.001),
    "CosineAnnealingWarmRestarts": lambda o: S.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "SequentialLR": lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, 1.0, 4), S.CosineAnnealingLR(o, 10)], [4]),
    "ChainedScheduler": lambda o: S.ChainedScheduler([S.ConstantLR(o, 0.1, 3), S.ExponentialLR(o, 0.9)]),
    "CyclicLR": lambda o: S.CyclicLR(o, 0.01, [0.1, 0.2], 4, 3, mode="triangular2"),
    "CyclicLR exp": lambda o: S.CyclicLR(o, 0.01, 0.1, 4, mode="exp_range", gamma=0.9, cycle_momentum=False),
    "OneCycleLR": lambda o: S.OneCycleLR(o, [0.1, 0.3], total_steps=14),
    "OneCycleLR three": lambda o: S.OneCycleLR(o, 0.1, epochs=7, steps_per_epoch=2, three_phase=True,
                                              anneal_strategy="linear"),
    "ReduceLROnPlateau": lambda o: S.ReduceLROnPlateau(o, patience=1, factor=0.5, cooldown=1, min_lr=[0.02, 0.001]),
}
METRICS = [5, 4, 4, 4, 4, 3, 3.5, 3.5, 3.5, 3.5, 3.5, 2]


def scheduled(name):
    p = problem()
    opt = optim.SGD([{"params": p[:2]}, {"params": p[2:], "lr": 0.05}], lr=0.1, momentum=0.9)
    return opt, SCHEDULES[name](opt)


def advance(name, opt, scheduler, k):
    opt.step()
    if name == "ReduceLROnPlateau":
        scheduler.step(METRICS[k])
    else:
        scheduler.step()
    return [value for g in opt.param_groups for value in (g["lr"], g["momentum"])]


SCHEDULED = {
    "LambdaLR": [0.095, 0.025, 0.09025, 0.016666667, 0.0857375, 0.0125, 0.081450625, 0.01, 0.077378094,
        0.0083333333, 0.073509189, 0.0071428571, 0.06983373, 0.00625, 0.066342043, 0.0055555556, 0.063024941,
        0.005, 0.059873694, 0.0045454545, 0.056880009, 0.0041666667, 0.054036009, 0.0038461538],
    "MultiplicativeLR": [0.09, 0.045, 0.081, 0.0405, 0.0729, 0.03645, 0.06561, 0.032805, 0.059049, 0.0295245,
        0.0531441, 0.02657205, 0.04782969, 0.023914845, 0.043046721, 0.021523361, 0.038742049, 0.019371024,
        0.034867844, 0.017433922, 0.03138106, 0.01569053, 0.028242954, 0.014121477],
    "StepLR": [0.1, 0.05, 0.1, 0.05, 0.01, 0.005, 0.01, 0.005, 0.01, 0.005, 0.001, 0.0005, 0.001, 0.0005, 0.001,
        0.0005, 0.0001, 5e-05, 0.0001, 5e-05, 0.0001, 5e-05, 1e-05, 5e-06],
    "MultiStepLR": [0.1, 0.05, 0.05, 0.025, 0.05, 0.025, 0.05, 0.025, 0.0125, 0.00625, 0.0125, 0.00625, 0.00625,
        0.003125, 0.00625, 0.003125, 0.00625, 0.003125, 0.00625, 0.003125, 0.00625, 0.003125, 0.00625, 0.003125],
    "ConstantLR": [0.05, 0.025, 0.05, 0.025, 0.05, 0.025, 0.1, 0.05, 0.1, 0.05, 0.1, 0.05, 0.1, 0.05, 0.1, 0.05,
        0.1, 0.05, 0.1, 0.05, 0.1, 0.05, 0.1, 0.05],
    "LinearLR": [0.034166667, 0.017083333, 0.043333333, 0.021666667, 0.0525, 0.02625, 0.061666667, 0.030833333,
        0.070833333, 0.035416667, 0.08, 0.04, 0.08, 0.04, 0.08, 0.04, 0.08, 0.04, 0.08, 0.04, 0.08, 0.04, 0.08,
        0.04],
    "ExponentialLR": [0.09, 0.045, 0.081, 0.0405, 0.0729, 0.03645, 0.06561, 0.032805, 0.059049, 0.0295245,
        0.0531441, 0.02657205, 0.04782969, 0.023914845, 0.043046721, 0.021523361, 0.038742049, 0.019371024,
        0.034867844, 0.017433922, 0.03138106, 0.01569053, 0.028242954, 0.014121477],
    "PolynomialLR": [0.079012346, 0.039506173, 0.060493827, 0.030246914, 0.044444444, 0.022222222, 0.030864198,
        0.015432099, 0.019753086, 0.0098765432, 0.011111111, 0.0055555556, 0.0049382716, 0.0024691358,
        0.0012345679, 0.00061728395, 0, 0, 0, 0, 0, 0, 0, 0],
    "CosineAnnealingLR": [0.090546341, 0.045320916, 0.065796341, 0.033070916, 0.035203659, 0.017929084,
        0.010453659, 0.0056790836, 0.001, 0.001, 0.010453659, 0.0056790836, 0.035203659, 0.017929084, 0.065796341,
        0.033070916, 0.090546341, 0.045320916, 0.1, 0.05, 0.090546341, 0.045320916, 0.065796341, 0.033070916],
    "CosineAnnealingWarmRestarts": [0.07525, 0.03775, 0.02575, 0.01325, 0.1, 0.05, 0.093368257, 0.046717622,
        0.07525, 0.03775, 0.0505, 0.0255, 0.02575, 0.01325, 0.0076317425, 0.0042823776, 0.1, 0.05, 0.098313328,
        0.049165183, 0.093368257, 0.046717622, 0.085501786, 0.042824116],
    "SequentialLR": [0.0325, 0.01625, 0.055, 0.0275, 0.0775, 0.03875, 0.1, 0.05, 0.097552826, 0.048776413,
        0.09045085, 0.045225425, 0.079389263, 0.039694631, 0.06545085, 0.032725425, 0.05, 0.025, 0.03454915,
        0.017274575, 0.020610737, 0.010305369, 0.0095491503, 0.0047745751],
    "ChainedScheduler": [0.009, 0.0045, 0.0081, 0.00405, 0.0729, 0.03645, 0.06561, 0.032805, 0.059049, 0.0295245,
        0.0531441, 0.02657205, 0.04782969, 0.023914845, 0.043046721, 0.021523361, 0.038742049, 0.019371024,
        0.034867844, 0.017433922, 0.03138106, 0.01569053, 0.028242954, 0.014121477],
    "CyclicLR": [0.0325, 0.0575, 0.055, 0.105, 0.0775, 0.1525, 0.1, 0.2, 0.07, 0.13666667, 0.04, 0.073333333,
        0.01, 0.01, 0.02125, 0.03375, 0.0325, 0.0575, 0.04375, 0.08125, 0.055, 0.105, 0.04, 0.073333333],
    "CyclicLR exp": [0.03025, 0.03025, 0.04645, 0.04645, 0.0592075, 0.0592075, 0.069049, 0.069049, 0.049858075,
        0.049858075, 0.033914845, 0.033914845, 0.02076168, 0.02076168, 0.01, 0.01, 0.018716961, 0.018716961,
        0.02569053, 0.02569053, 0.031182215, 0.031182215, 0.035418658, 0.035418658],
    "OneCycleLR": [0.025332629, 0.075997886, 0.070368805, 0.21110641, 0.099077693, 0.29723308, 0.09836475,
        0.29509425, 0.091904438, 0.27571331, 0.081174565, 0.2435237, 0.067268384, 0.20180515, 0.051602772,
        0.15480832, 0.035773878, 0.10732163, 0.021394481, 0.064183444, 0.0099296792, 0.029789038, 0.0025476025,
        0.0076428074],
    "OneCycleLR three": [0.034, 0.034, 0.064, 0.064, 0.094, 0.094, 0.076, 0.076, 0.046, 0.046, 0.016, 0.016,
        0.0036364, 0.0036364, 0.0030304, 0.0030304, 0.0024244, 0.0024244, 0.0018184, 0.0018184, 0.0012124,
        0.0012124, 0.0006064, 0.0006064],
    "ReduceLROnPlateau": [0.1, 0.05, 0.1, 0.05, 0.1, 0.05, 0.05, 0.025, 0.05, 0.025, 0.05, 0.025, 0.05, 0.025,
        0.025, 0.0125, 0.025, 0.0125, 0.025, 0.0125, 0.02, 0.00625, 0.02, 0.00625],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_is_pytorchs(name):
    opt, scheduler = scheduled(name)
    rows = [advance(name, opt, scheduler, k) for k in range(12)]
    rates = [r for row in rows for r in (row[0], row[2])]
    np.testing.assert_allclose(rates, SCHEDULED[name], rtol=1e-6, atol=1e-12)
    assert scheduler.get_last_lr() == [rows[-1][0], rows[-1][2]]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_resumes(name):
    opt, scheduler = scheduled(name)
    for k in range(5):
        advance(name, opt, scheduler, k)
    saved = copy.deepcopy(opt.state_dict()), copy.deepcopy(scheduler.state_dict())
    expected = [advance(name, opt, scheduler, k) for k in range(5, 12)]
    opt, scheduler = scheduled(name)
    opt.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    assert [advance(name, opt, scheduler, k) for k in range(5, 12)] == expected


def test_scheduler_warnings_and_errors():
    opt = optim.SGD(problem(), lr=0.1)
    scheduler = S.StepLR(opt, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler.step()
    assert any("before `optimizer.step()`" in str(w.message) for w in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opt = optim.SGD(problem(), lr=0.1)
        scheduler = S.StepLR(opt, 2)
        opt.step()
        scheduler.step()
    for error, words, make in [
        (TypeError, "is not an Optimizer", lambda: S.StepLR(3, 2)),
        (KeyError, "initial_lr", lambda: S.StepLR(optim.SGD(problem(), lr=0.1), 2, last_epoch=3)),
        (ValueError, "Expected 1 lr_lambdas, but got 2", lambda: S.LambdaLR(opt, [abs, abs])),
        (ValueError, "between 0 and 1", lambda: S.ConstantLR(opt, 2.0)),
        (ValueError, "Factor should be < 1.0.", lambda: S.ReduceLROnPlateau(opt, factor=1.0)),
        (ValueError, "mode average is unknown!", lambda: S.ReduceLROnPlateau(opt, mode="average")),
        (ValueError, "You must define either total_steps", lambda: S.OneCycleLR(opt, 0.1)),
        (ValueError, "positive integer T_0", lambda: S.CosineAnnealingWarmRestarts(opt, 0)),
        (ValueError, "one more than the number of milestone",
         lambda: S.SequentialLR(opt, [S.StepLR(opt, 2)], [1])),
        (ValueError, "at least one scheduler", lambda: S.ChainedScheduler([])),
        (ValueError, "does not support `ReduceLROnPlateau`",
         lambda: S.ChainedScheduler([S.ReduceLROnPlateau(opt)], opt)),
    ]:
        with raises_with(error, words):
            make()


def test_tensor_learning_rate_is_scheduled_in_place():
    lr = lib.tensor(0.1)
    opt = optim.SGD(problem(), lr=lr)
    scheduler = S.ExponentialLR(opt, 0.5)
    opt.step()
    scheduler.step()
    assert opt.param_groups[0]["lr"] is lr and lr.item() == pytest.approx(0.05)


def test_training_with_a_schedule_learns():
    lib.manual_seed(0)
    x = lib.randn(256, 5)
    y = (x @ lib.tensor([1.0, -2.0, 0.5, 0.0, 3.0]) + 0.7).unsqueeze(1)
    model = nn.Linear(5, 1)
    opt = optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.0)
    scheduler = S.CosineAnnealingLR(opt, 200)
    for _ in range(200):
        loss = ((model(x) - y) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        scheduler.step()
    assert loss.item() < 1e-4
