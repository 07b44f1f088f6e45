"""REINFORCE (Williams 1992): a policy network learns to balance a pole by trying, one gradient step an episode.

    python examples/families/reinforce.py [--torch] [--quick] [--steps 300] [--seed 0] [--out .]

The figure is the mean return of the last tenth of the episodes; 200 is the most there is, a random policy gets 20.
reinforce.png: the return of every episode. Environment: cartpole.py.
"""
import os

from cartpole import CartPole
from common import arguments, nn, progress, report, torch


def episode(policy, environment):
    """Plays to the end. Returns log probabilities of the actions taken (T,) and the rewards."""
    state, log_probs, rewards = environment.reset(), [], []
    while True:
        choice = torch.distributions.Categorical(logits=policy(torch.tensor(state)))
        action = choice.sample()
        log_probs.append(choice.log_prob(action))
        state, reward, fallen, ended = environment.step(action.item())
        rewards.append(reward)
        if fallen or ended:
            return torch.stack(log_probs), rewards


def returns(rewards, discount=0.99):
    """Discounted sums of the rewards from each step on (T,), standardised: what an action brought, against the others."""
    total, sums = 0.0, []
    for reward in reversed(rewards):
        total = reward + discount * total
        sums.append(total)
    sums = torch.tensor(sums[::-1])
    return (sums - sums.mean()) / (sums.std() + 1e-6)


def plot(lengths, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    mean = [sum(lengths[max(0, i - 19) : i + 1]) / min(i + 1, 20) for i in range(len(lengths))]
    axes.plot(lengths, ".", markersize=4, label="an episode")
    axes.plot(mean, label="mean of the last 20")
    axes.set(xlabel="episode", ylabel="return (steps the pole stood)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")


def main():
    args = arguments(__doc__, steps=300, quick=80)
    environment = CartPole()
    policy = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3)

    losses, lengths = [], []
    for _ in range(args.steps):
        log_probs, rewards = episode(policy, environment)
        loss = -(log_probs * returns(rewards)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        lengths.append(sum(rewards))
        progress(args, lengths, "mean return")
    plot(lengths, os.path.join(args.out, "reinforce.png"))
    last = lengths[-max(1, args.steps // 10) :]
    report(args, losses, "mean return of the last episodes", sum(last) / len(last), full=150, quick=35)


if __name__ == "__main__":
    main()
