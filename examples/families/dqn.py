"""DQN (Mnih et al. 2015): a network learns what each action is worth, from a memory of what happened.

    python examples/families/dqn.py [--torch] [--quick] [--steps 12000] [--seed 0]

Replay memory, a target network that follows slowly, epsilon-greedy exploration, and double Q-learning (van Hasselt et
al. 2016). The figure is the mean return of 10 episodes without exploration; 200 is the most there is, a random policy
gets 20. Environment: cartpole.py.
"""
from cartpole import CartPole
from common import F, arguments, nn, progress, report, torch

MEMORY, BATCH, DISCOUNT = 20_000, 64, 0.99


class Memory:
    """A ring of the last transitions (state, action, reward, next state, fallen)."""

    def __init__(self):
        self.states, self.following = torch.zeros(MEMORY, 4), torch.zeros(MEMORY, 4)
        self.actions = torch.zeros(MEMORY, dtype=torch.int64)
        self.rewards, self.fallen = torch.zeros(MEMORY), torch.zeros(MEMORY)
        self.count = 0

    def add(self, state, action, reward, following, fallen):
        i = self.count % MEMORY
        self.states[i], self.following[i] = torch.tensor(state), torch.tensor(following)
        self.actions[i], self.rewards[i], self.fallen[i] = action, reward, float(fallen)
        self.count += 1

    def sample(self):
        i = torch.randint(min(self.count, MEMORY), (BATCH,))
        return self.states[i], self.actions[i], self.rewards[i], self.following[i], self.fallen[i]


def network():
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def greedy(q, state):
    with torch.no_grad():
        return q(torch.tensor(state)).argmax().item()


def play(q, environment):
    """The return of an episode without exploration."""
    state, total = environment.reset(), 0.0
    while True:
        state, reward, fallen, ended = environment.step(greedy(q, state))
        total += reward
        if fallen or ended:
            return total


def main():
    args = arguments(__doc__, steps=12_000, quick=4000)
    environment, memory = CartPole(), Memory()
    q, target = network(), network()
    target.load_state_dict(q.state_dict())
    optimizer = torch.optim.Adam(q.parameters(), lr=2.5e-4)

    losses, lengths = [], []
    state, length = environment.reset(), 0
    for step in range(BATCH + args.steps):  # the first fill the memory
        epsilon = max(0.05, 1 - step / (0.4 * args.steps))
        action = torch.randint(2, ()).item() if torch.rand(()).item() < epsilon else greedy(q, state)
        following, reward, fallen, ended = environment.step(action)
        memory.add(state, action, reward, following, fallen)
        state, length = following, length + 1
        if fallen or ended:
            lengths.append(length)
            state, length = environment.reset(), 0
        if step < BATCH:
            continue

        states, actions, rewards, nexts, fell = memory.sample()
        with torch.no_grad():
            best = q(nexts).argmax(1, keepdim=True)  # chosen by one network, valued by the other
            worth = rewards + DISCOUNT * (1 - fell) * target(nexts).gather(1, best).squeeze(1)  # (64,)
        loss = F.smooth_l1_loss(q(states).gather(1, actions.unsqueeze(1)).squeeze(1), worth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), q.parameters()):
                slow.lerp_(fast, 0.005)
        losses.append(loss.item())
        progress(args, losses)
    print(f"{len(lengths)} episodes, the last ten: {lengths[-10:]}")
    test = [play(q, environment) for _ in range(10)]
    report(args, losses, "mean return without exploration", sum(test) / len(test), full=150, quick=60)


if __name__ == "__main__":
    main()
