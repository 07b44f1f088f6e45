"""L-BFGS (Liu and Nocedal 1989) fits two curves to measurements, to as many digits as the certified solutions have.

    python examples/families/lbfgs.py [--torch] [--quick] [--steps 20] [--seed 0] [--out .]

Data: Misra1a (volume of monomolecular dental adsorption against pressure, 14 points) and Eckerle4 (transmittance of a
filter against wavelength, 35 points), public domain, from the Statistical Reference Datasets of the US National Institute
of Standards and Technology, which certify the least-squares solutions. The figure is the number of digits in which all
parameters agree with them. lbfgs.png: points and curves.
"""
import math
import os

from common import arguments, report, torch

PRESSURE = [77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8, 593.1, 689.1, 760.0]
VOLUME = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40, 75.47, 81.78]
WAVELENGTH = [400, 405, 410, 415, 420, 425, 430, 435, 436.5, 438, 439.5, 441, 442.5, 444, 445.5, 447, 448.5, 450, 451.5,
              453, 454.5, 456, 457.5, 459, 460.5, 462, 463.5, 465, 470, 475, 480, 485, 490, 495, 500]  # fmt: skip
TRANSMITTANCE = [0.0001575, 0.0001699, 0.0002350, 0.0003102, 0.0004917, 0.0008710, 0.0017418, 0.0046400, 0.0065895,
                 0.0097302, 0.0149002, 0.0237310, 0.0401683, 0.0712559, 0.1264458, 0.2073413, 0.2902366, 0.3445623,
                 0.3698049, 0.3668534, 0.3106727, 0.2078154, 0.1164354, 0.0616764, 0.0337200, 0.0194023, 0.0117831,
                 0.0074357, 0.0022732, 0.0008800, 0.0004579, 0.0002345, 0.0001586, 0.0001143, 0.0000710]  # fmt: skip


def misra(b, x):
    return b[0] * (1 - torch.exp(-b[1] * x))


def eckerle(b, x):
    return b[0] / b[1] * torch.exp(-0.5 * ((x - b[2]) / b[1]) ** 2)


# name, curve, x, y, start 2 of NIST, certified solution
PROBLEMS = [
    ("Misra1a", misra, PRESSURE, VOLUME, [250, 5e-4], [2.3894212918e02, 5.5015643181e-04]),
    ("Eckerle4", eckerle, WAVELENGTH, TRANSMITTANCE, [1.5, 5, 450], [1.5543827178, 4.0888321754, 4.5154121844e02]),
]


def fit(curve, x, y, start, steps):
    """Least squares. The unknowns are multiples of the start, so that all have about the same size."""
    x, y, start = (torch.tensor(v, dtype=torch.float64) for v in (x, y, start))
    scale = torch.ones_like(start, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [scale], max_iter=20, tolerance_grad=1e-14, tolerance_change=1e-18, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = ((curve(start * scale, x) - y) ** 2).sum() / (y**2).sum()
        loss.backward()
        return loss

    losses = []
    for step in range(1, steps + 1):
        losses.append(optimizer.step(closure).item())
        if step % 5 == 0:
            print(f"step {step:5d}: relative squared error {losses[-1]:.6e}", flush=True)
    return (start * scale).tolist(), losses


def plot(found, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, (name, curve, x, y, _, _) in zip(figure.subplots(1, 2), PROBLEMS):
        line = torch.linspace(min(x), max(x), 300, dtype=torch.float64)
        axes.plot(line.numpy(), curve(found[name], line).numpy(), label="fitted")
        axes.plot(x, y, "o", markersize=4, label="measured")
        axes.set_title(name)
        axes.legend()
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")


def main():
    args = arguments(__doc__, steps=20, quick=10)
    losses, found, digits = [], {}, []
    for name, curve, x, y, start, certified in PROBLEMS:
        print(name)
        found[name], history = fit(curve, x, y, start, args.steps)
        losses += history
        for b, right in zip(found[name], certified):
            digits.append(-math.log10(max(abs(b / right - 1), 1e-11)))
            print(f"  {b:.10e}, certified {right:.10e}: {digits[-1]:.1f} digits")
    plot(found, os.path.join(args.out, "lbfgs.png"))
    report(args, losses, "digits in which all parameters agree", min(digits), full=6, quick=5)


if __name__ == "__main__":
    main()
