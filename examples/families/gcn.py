"""A graph convolutional network (Kipf and Welling 2017) finds the two halves of a karate club from two known members.

    python examples/families/gcn.py [--torch] [--quick] [--steps 200] [--seed 0] [--out .]

Zachary (1977) noted who of 34 members of a club met outside it, before the club split between the instructor and the
president. The network knows these friendships and those two; the figure is the share of the other 32 whose side it
finds. gcn.png: the club, coloured by what the network thinks. Data: the graph below.
"""
import os

from common import F, arguments, nn, progress, report, torch

FRIENDS = {  # member: friends with greater numbers
    0: [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31], 1: [2, 3, 7, 13, 17, 19, 21, 30],
    2: [3, 7, 8, 9, 13, 27, 28, 32], 3: [7, 12, 13], 4: [6, 10], 5: [6, 10, 16], 6: [16], 8: [30, 32, 33], 9: [33],
    13: [33], 14: [32, 33], 15: [32, 33], 18: [32, 33], 19: [33], 20: [32, 33], 22: [32, 33], 23: [25, 27, 29, 32, 33],
    24: [25, 27, 31], 25: [31], 26: [29, 33], 27: [33], 28: [31, 33], 29: [32, 33], 30: [32, 33], 31: [32, 33], 32: [33],
}  # fmt: skip
INSTRUCTOR, PRESIDENT = 0, 33
WITH_INSTRUCTOR = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21]  # after the split


def propagation():
    """D^-1/2 (A + I) D^-1/2 (34, 34): the mean over a member and its friends, symmetric."""
    a = torch.eye(34)
    for member, friends in FRIENDS.items():
        for friend in friends:
            a[member, friend] = a[friend, member] = 1
    scale = a.sum(1).rsqrt()
    return scale.unsqueeze(1) * a * scale


class GCN(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.register_buffer("a", a)
        self.layer1, self.layer2 = nn.Linear(34, 16, bias=False), nn.Linear(16, 2, bias=False)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):  # (34, 34)
        x = F.relu(self.a @ self.layer1(x))  # (34, 16)
        return self.a @ self.layer2(self.dropout(x))  # (34, 2)


def plot(a, probability, side, path):
    """Members at the coordinates that the second and third eigenvectors of `a` give them (a spectral layout)."""
    from matplotlib.figure import Figure

    points = torch.linalg.eigh(a)[1][:, [-2, -3]].numpy()  # (34, 2)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for member, friends in FRIENDS.items():
        for friend in friends:
            axes.plot(*points[[member, friend]].T, color="0.85", linewidth=0.7, zorder=0)
    for name, group, marker in (("went with the instructor", 0, "o"), ("stayed with the president", 1, "s")):
        chosen = [i for i in range(34) if side[i] == group]
        drawn = axes.scatter(*points[chosen].T, c=probability[chosen], marker=marker, label=name, s=70, cmap="coolwarm",
                             vmin=0, vmax=1, edgecolors="0.3", linewidths=0.5)  # fmt: skip
    for i, point in enumerate(points):
        axes.annotate(str(i), point, xytext=(5, 5), textcoords="offset points", fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.legend()
    figure.colorbar(drawn, label="probability of the president's side")
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")


def main():
    args = arguments(__doc__, steps=200, quick=100)
    side = torch.tensor([0 if i in WITH_INSTRUCTOR else 1 for i in range(34)])
    known = torch.tensor([INSTRUCTOR, PRESIDENT])
    x = torch.eye(34)  # nothing is known of a member but who it is
    model = GCN(propagation())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)

    losses = []
    for _ in range(args.steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x)[known], side[known])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        progress(args, losses)

    model.eval()
    with torch.no_grad():
        logits = model(x)
    right = logits.argmax(1) == side
    probability = F.softmax(logits, dim=1)[:, 1].numpy()
    plot(model.a, probability, side.tolist(), os.path.join(args.out, "gcn.png"))
    print("on the wrong side:", torch.nonzero(~right).flatten().tolist())
    report(args, losses, "accuracy on the other 32", (right.sum().item() - 2) / 32, full=0.9, quick=0.85)


if __name__ == "__main__":
    main()
