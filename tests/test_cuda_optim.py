"""Optimizer steps, clipping and random numbers on CUDA tensors: the CPU's results, and seeds. Runs on a GPU, or with the emulated plugin."""
import pytest
from under_test import lib

pytestmark = pytest.mark.skipif(not lib.cuda.is_available(), reason="no CUDA device and no emulated plugin")


def three_steps(device, name, options):
    ps = [lib.nn.Parameter((lib.arange(float(n)).reshape(s) * 0.1).to(device)) for n, s in ((6, (2, 3)), (5, (5,)))]
    optimizer = getattr(lib.optim, name)(ps, lr=0.1, **options)
    for t in range(3):
        for p in ps:
            p.grad = (lib.ones(p.shape) * (0.3 + 0.1 * t)).to(device)
        norm = lib.nn.utils.clip_grad_norm_(ps, 0.7)
        optimizer.step()
    return [p.detach().cpu() for p in ps] + [norm.cpu()]


@pytest.mark.parametrize("name, options", [
    ("SGD", {"momentum": 0.9}), ("Adam", {}), ("AdamW", {"amsgrad": True}), ("RMSprop", {"centered": True}),
    ("Adagrad", {}), ("Adadelta", {}), ("NAdam", {}), ("RAdam", {}), ("Adamax", {}), ("ASGD", {}), ("Rprop", {})])
def test_steps_agree_with_the_cpu(name, options):
    for want, got in zip(three_steps("cpu", name, options), three_steps("cuda", name, options)):
        assert lib.allclose(got, want, atol=1e-5, rtol=1e-5)


def test_gradients_of_halves_are_clipped():
    p = lib.nn.Parameter(lib.ones(4, dtype=lib.bfloat16, device="cuda"))
    p.grad = lib.ones(4, dtype=lib.bfloat16, device="cuda")
    lib.nn.utils.clip_grad_norm_([p], 1.0)
    assert p.grad.tolist() == [0.5] * 4


def test_seeds_repeat_random_numbers():
    def draw():
        lib.manual_seed(3)
        return [lib.rand(5, device="cuda").tolist(), lib.randn(5, device="cuda").tolist(),
                lib.randint(0, 100, (5,), device="cuda").tolist(), lib.randperm(50, device="cuda").tolist(),
                lib.multinomial(lib.ones(9).cuda(), 4).tolist()]
    first = draw()
    assert first == draw()
    assert sorted(first[3]) == list(range(50)) and len(set(first[4])) == 4


def test_dropout_and_its_gradient_share_the_mask():
    x = lib.ones(1000, device="cuda", requires_grad=True)
    y = lib.nn.functional.dropout(x, 0.5)
    y.backward(lib.ones(1000).cuda())
    assert x.grad.tolist() == y.tolist()
    assert set(y.tolist()) == {0.0, 2.0}


def test_invalid_weights_are_an_error():
    with pytest.raises(RuntimeError, match="element < 0"):
        lib.multinomial(-lib.ones(5).cuda(), 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_captured_step_follows_a_scheduler_of_a_tensor_learning_rate(name, dtype):
    def make(device, lr):
        p = lib.nn.Parameter((lib.arange(6.0) * 0.1).to(device))
        p.grad = (lib.ones(6) * 0.5).to(device)
        options = {"momentum": 0.9} if name == "SGD" else {"capturable": True}
        optimizer = getattr(lib.optim, name)([p], lr=lr, **options)
        return p, optimizer, lib.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    p, optimizer, scheduler = make("cpu", 0.1)
    for _ in range(5):
        optimizer.step()
        scheduler.step()

    lr = lib.tensor(0.1, dtype=getattr(lib, dtype), device="cuda")
    q, optimizer, scheduler = make("cuda", lr)
    for _ in range(2):  # SGD's first step is of its own kind
        optimizer.step()
        scheduler.step()
    graph = lib.cuda.CUDAGraph()
    with lib.cuda.graph(graph):
        optimizer.step()
    for _ in range(3):
        graph.replay()
        scheduler.step()
    assert lib.allclose(q.detach().cpu(), p.detach(), atol=1e-6, rtol=1e-6)
    assert optimizer.param_groups[0]["lr"] is lr and abs(float(lr) - 0.1 / 32) < 1e-6
