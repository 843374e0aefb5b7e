"""Solving dx/dt = v(x, t), and what it does to a density, for any velocity(x, t) of x (n, d) and one time t.

    dx/dt = v(x, t),        d log p(x(t), t) / dt = - div v(x(t), t)      along the trajectory

A closed formula and a network go the same way.
"""

import math

import torch
from torch.func import vjp, vmap


def euler_step(velocity, x, t, dt):
    """One step with the velocity at its start; the error of a whole trajectory falls like dt.

    Shapes:
        x (n, d) -> (n, d)
    Example:
        >>> euler_step(lambda x, t: x, torch.ones(1, 1), 0.0, 0.1)
        tensor([[1.1000]])
    """
    return x + dt * velocity(x, t)


def midpoint_step(velocity, x, t, dt):
    """One step with the velocity half-way; the error of a whole trajectory falls like dt^2.

    Shapes:
        x (n, d) -> (n, d)
    Example:
        >>> midpoint_step(lambda x, t: x, torch.ones(1, 1), 0.0, 0.1)
        tensor([[1.1050]])
    """
    return x + dt * velocity(x + dt / 2 * velocity(x, t), t + dt / 2)


def rk4_step(velocity, x, t, dt):
    """One step of the classical Runge-Kutta method; the error of a whole trajectory falls like dt^4.

        k_1 = v(x, t),  k_2 = v(x + dt k_1 / 2, t + dt / 2),  k_3 = v(x + dt k_2 / 2, t + dt / 2),
        k_4 = v(x + dt k_3, t + dt),      x + dt (k_1 + 2 k_2 + 2 k_3 + k_4) / 6

    Shapes:
        x (n, d) -> (n, d)
    Example:
        >>> rk4_step(lambda x, t: x, torch.ones(1, 1, dtype=torch.float64), 0.0, 1.0)     # e = 2.71828
        tensor([[2.7083]], dtype=torch.float64)
    """
    k_1 = velocity(x, t)
    k_2 = velocity(x + dt / 2 * k_1, t + dt / 2)
    k_3 = velocity(x + dt / 2 * k_2, t + dt / 2)
    k_4 = velocity(x + dt * k_3, t + dt)
    return x + dt / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)


METHODS = {"euler": euler_step, "midpoint": midpoint_step, "rk4": rk4_step}


def integrate(velocity, x, t_0, t_1, steps, method="rk4"):
    """Follow dx/dt = v(x, t) from t_0 to t_1 in equal steps; t_1 < t_0 goes backwards.

    Arguments:
        velocity: v(x, t) with x (n, d) and one number t.
        steps: each costs 1 ("euler"), 2 ("midpoint") or 4 ("rk4") evaluations of v.
    Shapes:
        x (n, d) -> (n, d)
    Raises:
        ValueError: no steps, or an unknown method.
    Example:
        >>> x = integrate(lambda x, t: x, torch.ones(1, 1, dtype=torch.float64), 0.0, 1.0, steps=20)
        >>> round(float(x), 6)
        2.718282
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}; take one of {', '.join(METHODS)}")
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps counts the steps from t_0 to t_1, a positive integer, not {steps!r}")
    dt = (t_1 - t_0) / steps
    for i in range(steps):
        x = METHODS[method](velocity, x, t_0 + i * dt, dt)
    return x


def solve_adaptive(velocity, x, t_0, t_1, tolerance=1e-10):
    """Oracle for `integrate`: SciPy's adaptive DOP853, in float64 on the CPU, one step size for all events.

    Shapes:
        x (n, d) -> (n, d) float64
    Example:
        >>> round(float(solve_adaptive(lambda x, t: x, torch.ones(1, 1), 0.0, 1.0)), 9)
        2.718281828
    """
    from scipy.integrate import solve_ivp

    def flat(t, y):
        return velocity(torch.from_numpy(y).reshape(x.shape), t).detach().numpy().reshape(-1)

    start = x.detach().double().cpu().numpy().reshape(-1)
    found = solve_ivp(flat, (t_0, t_1), start, method="DOP853", rtol=tolerance, atol=tolerance)
    return torch.from_numpy(found.y[:, -1].copy()).reshape(x.shape)


def _value_and_trace(velocity, x, t, directions):
    """Return v (n, d) and sum_k e_k . J e_k (n,) of directions e_k (m, n, d): all derivatives e_k . J side by side."""
    value, pull_back = vjp(lambda y: velocity(y, t), x)
    derivative = vmap(lambda e: pull_back(e)[0])(directions)  # (m, n, d)
    return value, (derivative * directions).sum((0, 2))


def _unit_vectors(x):
    d = x.shape[1]
    return torch.eye(d, dtype=x.dtype, device=x.device)[:, None].expand(d, *x.shape)


def _random_signs(x, probes, generator):
    if not isinstance(probes, int) or probes < 1:
        raise ValueError(f"probes counts random directions for each event, a positive integer, not {probes!r}")
    place = generator.device if generator else x.device
    bits = torch.randint(2, (probes, *x.shape), generator=generator, device=place).to(x)
    return (2 * bits - 1) / math.sqrt(probes)  # so that a sum over them is the mean


def exact_divergence(velocity, x, t):
    """Divergence of a velocity field, sum_i dv_i/dx_i, by d derivatives of all events at once.

    Shapes:
        x (n, d) -> (n,); row i of v may depend on row i of x alone
    Example:
        >>> exact_divergence(lambda x, t: x * torch.tensor([2.0, 3.0]), torch.ones(4, 2), 0.5)
        tensor([5., 5., 5., 5.])
    """
    return _value_and_trace(velocity, x, t, _unit_vectors(x))[1]


def hutchinson_divergence(velocity, x, t, probes=1, generator=None):
    """Unbiased estimate of the divergence from random directions instead of all d.

        div v = tr J = E[e^T J e],      e_i = +1 or -1 with equal odds

    Its variance is sum over i < j of (J_ij + J_ji)^2, divided by the number of probes: zero where J is diagonal.

    Shapes:
        x (n, d) -> (n,)
    Raises:
        ValueError: no probes.
    Example:
        >>> hutchinson_divergence(lambda x, t: x * torch.tensor([2.0, 3.0]), torch.ones(4, 2), 0.5)
        tensor([5., 5., 5., 5.])

    Reference: Grathwohl et al. 2018, arXiv:1810.01367.
    """
    return _value_and_trace(velocity, x, t, _random_signs(x, probes, generator))[1]


def integrate_with_divergence(velocity, x, t_0, t_1, steps, method="rk4", divergence="exact", probes=1, generator=None):
    """Follow events, and with them the change of the logarithm of their density.

        log p(x(t_1), t_1) = log p(x(t_0), t_0) - integral of div v dt from t_0 to t_1

    Arguments:
        divergence: "exact", or "hutchinson" with so many probes, which stay the same along a trajectory.
    Shapes:
        x (n, d) -> x at t_1 (n, d), the integral (n,)
    Raises:
        ValueError: no steps or probes, an unknown method or divergence.
    Example:
        >>> x, integral = integrate_with_divergence(lambda x, t: 2 * x, torch.ones(1, 3), 0.0, 1.0, steps=20)
        >>> round(float(integral), 4)
        6.0

    Reference: Chen et al. 2018, arXiv:1806.07366.
    """
    if divergence not in ("exact", "hutchinson"):
        raise ValueError(f"divergence must be 'exact' or 'hutchinson', not {divergence!r}")
    directions = _unit_vectors(x) if divergence == "exact" else _random_signs(x, probes, generator)

    def both(state, t):
        value, trace = _value_and_trace(velocity, state[:, :-1], t, directions)
        return torch.cat([value, trace[:, None]], dim=1)

    state = integrate(both, torch.cat([x, x.new_zeros(len(x), 1)], dim=1), t_0, t_1, steps, method)
    return state[:, :-1], state[:, -1]
