# autograd at large, in the style of PyTorch's "learning with examples": Functions, hooks, gradient penalties, Jacobians.
import math

import torch


class LegendrePolynomial3(torch.autograd.Function):
    """P3(x) = (5 x^3 - 3 x) / 2."""

    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return 0.5 * (5 * input ** 3 - 3 * input)

    @staticmethod
    def backward(ctx, grad_output):
        input, = ctx.saved_tensors
        return grad_output * 1.5 * (5 * input ** 2 - 1)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        ctx.mark_non_differentiable()
        return x.round()

    @staticmethod
    def backward(ctx, g):
        if not ctx.needs_input_grad[0]:
            return None, None
        return g * ctx.scale, None


dtype, device = torch.float, torch.device("cpu")
x = torch.linspace(-math.pi, math.pi, 200, device=device, dtype=dtype)
y = torch.sin(x)
a, b, c, d = (torch.full((), v, device=device, dtype=dtype, requires_grad=True) for v in (0.0, -1.0, 0.0, 0.3))
learning_rate = 5e-6
for t in range(100):
    P3 = LegendrePolynomial3.apply
    y_pred = a + b * P3(c + d * x)
    loss = (y_pred - y).pow(2).sum()
    if t % 20 == 19:
        print(t, f"{loss.item():.4f}")
    loss.backward()
    with torch.no_grad():
        for p in (a, b, c, d):
            p -= learning_rate * p.grad
            p.grad = None
print(f"Result: y = {a.item():.5f} + {b.item():.5f} * P3({c.item():.5f} + {d.item():.5f} x)")
print("gradcheck", torch.autograd.gradcheck(LegendrePolynomial3.apply, torch.rand(5, dtype=torch.double,
                                                                                requires_grad=True)))

w = torch.tensor([0.4, 1.6], requires_grad=True)
StraightThrough.apply(w, 3.0).sum().backward()
print("straight through", w.grad.tolist())

# hooks and retained gradients
torch.manual_seed(0)
layer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Softplus(), torch.nn.Linear(4, 1))
seen = []
handle = layer[1].register_forward_hook(lambda m, i, o: seen.append((m.__class__.__name__, tuple(o.shape))))
layer[0].register_full_backward_hook(lambda m, gi, go: seen.append(("back", tuple(go[0].shape))))
inputs = torch.randn(5, 3, requires_grad=True)
hidden = layer[0](inputs)
hidden.retain_grad()
hidden.register_hook(lambda g: g * 2)
layer[2](layer[1](hidden)).sum().backward()
handle.remove()
layer(inputs)
print(seen, f"{hidden.grad.norm():.5f}")

# a gradient penalty, as in WGAN-GP
alpha = torch.rand(5, 1)
mixed = (alpha * inputs.detach() + (1 - alpha) * torch.ones(5, 3)).requires_grad_(True)
gradients = torch.autograd.grad(outputs=layer(mixed), inputs=mixed, grad_outputs=torch.ones(5, 1), create_graph=True,
                                retain_graph=True, only_inputs=True)[0]
penalty = ((gradients.norm(2, dim=1) - 1) ** 2).mean()
layer.zero_grad()
penalty.backward()
print(f"penalty {penalty.item():.6f} {layer[0].weight.grad.abs().sum().item():.6f}")

J = torch.autograd.functional.jacobian(lambda z: torch.stack([z.prod(), z.sum()]), torch.tensor([1.0, 2.0, 3.0]))
H = torch.autograd.functional.hessian(lambda z: (z ** 3).sum(), torch.tensor([1.0, 2.0]))
print(J.tolist(), H.tolist())
