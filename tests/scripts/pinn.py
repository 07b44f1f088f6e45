# A physics-informed network: second derivatives in the loss, first Adam, then L-BFGS with a closure.
import numpy as np
import torch
import torch.nn as nn
from torch.autograd import grad

torch.manual_seed(123)
torch.set_default_dtype(torch.float64)


class Network(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(a, b) for a, b in zip(layers[:-1], layers[1:])])
        for layer in self.linears:
            nn.init.xavier_normal_(layer.weight.data, gain=1.0)
            nn.init.zeros_(layer.bias.data)
        self.activation = nn.Tanh()

    def forward(self, x):
        if not torch.is_tensor(x):
            x = torch.from_numpy(x)
        for layer in self.linears[:-1]:
            x = self.activation(layer(x))
        return self.linears[-1](x)


net = Network([1, 12, 12, 1])
x = torch.linspace(0, 1, 24).unsqueeze(1).requires_grad_(True)
boundary = torch.tensor([[0.0], [1.0]])


def residual():
    """u'' + pi^2 sin(pi x) = 0 with u(0) = u(1) = 0, whose solution is sin(pi x)."""
    u = net(x)
    u_x = grad(u, x, grad_outputs=torch.ones_like(u), retain_graph=True, create_graph=True)[0]
    u_xx = grad(u_x, x, torch.ones_like(u_x), create_graph=True)[0]
    return u_xx + np.pi**2 * torch.sin(np.pi * x)


def loss_fn():
    return residual().square().mean() + 10 * net(boundary).pow(2).mean()


optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.98)
for i in range(60):
    optimizer.zero_grad()
    loss = loss_fn()
    loss.backward()
    optimizer.step()
    scheduler.step()
    if i % 15 == 0:
        print(f"adam {i} {loss.item():.6f} lr {scheduler.get_last_lr()[0]:.6f}")

lbfgs = torch.optim.LBFGS(net.parameters(), lr=1.0, max_iter=15, history_size=10, line_search_fn="strong_wolfe",
                          tolerance_grad=1e-9, tolerance_change=1e-12)
calls = 0


def closure():
    global calls
    lbfgs.zero_grad()
    value = loss_fn()
    value.backward()
    calls += 1
    return value


for i in range(2):
    loss = lbfgs.step(closure)
    print(f"lbfgs {i} {loss.item():.6f}")
with torch.no_grad():
    error = (net(x) - torch.sin(np.pi * x)).abs().max()
print(f"error {error:.5f} calls {calls}")
print("dtype", next(net.parameters()).dtype, x.grad is not None)
