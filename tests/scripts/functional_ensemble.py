# torch.func: per-sample gradients, an ensemble under vmap, Jacobian-vector products, MAML's inner step.
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call, grad, grad_and_value, hessian, jacrev, jvp, stack_module_state, vjp, vmap

torch.manual_seed(0)


class SimpleMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.fc2 = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


data, targets = torch.randn(5, 2, 3), torch.randint(3, (5,))
model = SimpleMLP()
params = {k: v.detach() for k, v in model.named_parameters()}
buffers = {k: v.detach() for k, v in model.named_buffers()}


def compute_loss(params, buffers, sample, target):
    predictions = functional_call(model, (params, buffers), (sample.unsqueeze(0),))
    return F.cross_entropy(predictions, target.unsqueeze(0))


per_sample = vmap(grad(compute_loss), in_dims=(None, None, 0, 0))(params, buffers, data, targets)
for name, g in per_sample.items():
    print(name, tuple(g.shape), f"{g.norm():.5f}")

models = [SimpleMLP() for _ in range(3)]
stacked, stacked_buffers = stack_module_state(models)
base = SimpleMLP()


def fmodel(params, buffers, x):
    return functional_call(base, (params, buffers), (x,))


predictions = vmap(fmodel, in_dims=(0, 0, None))(stacked, stacked_buffers, data)
print(tuple(predictions.shape), f"{predictions.std(0).mean().item():.6f}")
assert torch.allclose(predictions[1], models[1](data), atol=1e-6)


def net(x):
    return torch.tanh(x @ x)


x = torch.tensor([0.3, -0.2, 0.5])
print([f"{v:.6f}" for v in jacrev(net)(x).tolist()], [[round(v, 5) for v in row] for row in hessian(net)(x).tolist()])
value, tangent = jvp(net, (x,), (torch.ones(3),))
output, pull = vjp(net, x)
print(f"{value:.6f} {tangent:.6f} {pull(torch.tensor(2.0))[0].sum():.6f}")


def inner(w, a, b):
    g, value = grad_and_value(lambda w: F.mse_loss(a * w, b))(w)
    return w - 0.1 * g, value


def outer(w, a, b):
    fast, _ = inner(w, a, b)
    return F.mse_loss(a * fast, b)


w = torch.tensor(0.2)
for step in range(4):
    g, loss = grad_and_value(outer)(w, torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0]))
    w = w - 0.05 * g
    print(f"maml {step} {loss.item():.6f} {w.item():.6f}")
