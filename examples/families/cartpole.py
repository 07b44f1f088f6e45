"""The cart-pole problem (Barto, Sutton, Anderson 1983): push a cart left or right so that its pole does not fall."""
import math

from common import torch

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # m/s^2, kg, kg, m, N, s


class CartPole:
    """The state is (position of the cart in m, its speed, angle of the pole from upright in rad, its speed).

    Every step that the pole stands brings a reward of 1. An episode ends when the cart leaves +-2.4 m, the pole leans
    by more than 12 degrees, or `limit` steps are done.
    """

    def __init__(self, limit=200):
        self.limit = limit

    def reset(self):
        """A new episode: the state is drawn from +-0.05 (by the library's generator)."""
        self.state, self.steps = (0.1 * torch.rand(4) - 0.05).tolist(), 0
        return self.state

    def step(self, action):
        """Pushes left (0) or right (1) for 0.02 s. Returns the state, the reward, and fallen, ended (by the limit)."""
        x, x_speed, angle, angle_speed = self.state
        force = FORCE if action == 1 else -FORCE
        mass, sin, cos = CART + POLE, math.sin(angle), math.cos(angle)
        push = (force + POLE * HALF_LENGTH * angle_speed**2 * sin) / mass
        turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / mass))  # rad/s^2
        accelerate = push - POLE * HALF_LENGTH * turn * cos / mass  # m/s^2
        self.state = [x + SECONDS * x_speed, x_speed + SECONDS * accelerate,
                      angle + SECONDS * angle_speed, angle_speed + SECONDS * turn]  # fmt: skip
        self.steps += 1
        fallen = abs(self.state[0]) > 2.4 or abs(self.state[2]) > math.radians(12)
        return self.state, 1.0, fallen, self.steps >= self.limit
