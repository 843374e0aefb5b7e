"""Flow matching: events are carried from one distribution to another along a learned velocity field.

    dx/dt = v(x, t),        t = 0 noise, or any start,        t = 1 data

model = FlowMatching(features=4, condition=2)
x_t, t, target = model.path_batch(x)                            # the loss: |velocity(x_t, t, condition) - target|^2
model.sample(n, condition), model.log_prob(x, condition), model.transport(x, condition)
"""

from .model import FlowMatching, flow_matching_loss, linear_path, mean_square
from .time_network import TimeNetwork, time_features
from .trajectories import (
    euler_step,
    exact_divergence,
    hutchinson_divergence,
    integrate,
    integrate_with_divergence,
    midpoint_step,
    rk4_step,
    solve_adaptive,
)

__all__ = [
    "FlowMatching", "TimeNetwork", "euler_step", "exact_divergence", "flow_matching_loss", "hutchinson_divergence",
    "integrate", "integrate_with_divergence", "linear_path", "mean_square", "midpoint_step", "rk4_step",
    "solve_adaptive", "time_features",
]  # fmt: skip
