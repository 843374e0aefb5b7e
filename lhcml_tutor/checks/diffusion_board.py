"""Exercises of tutorial 08a, diffusion and flow matching: each with the package's own answer and known mistakes."""

import math

import torch

from ..diffusion import noised as noised_reference
from ..flow_matching import exact_divergence, linear_path, rk4_step
from .exercises import NotYet, diagnose, exercise, expect, untouched

LOG_2_PI = math.log(2 * math.pi)


def _numbers(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@exercise(reference=noised_reference)
def noised(answer):
    """Five events of three features, each after another number of steps."""
    x, noise, a = _numbers(5, 3), _numbers(5, 3, seed=2), torch.tensor([1.0, 0.9, 0.5, 0.2, 1e-4]).double()
    b = a[:, None]
    wanted = b.sqrt() * x + (1 - b).sqrt() * noise
    hint = diagnose(
        [
            ("The square roots are missing: variances add, so the factors are the roots of their shares.",
             b * x + (1 - b) * noise),
            ("The root of alpha_bar is missing.", b * x + (1 - b).sqrt() * noise),
            ("The root of 1 - alpha_bar is missing: the noise has this *variance*.", b.sqrt() * x + (1 - b) * noise),
            ("alpha_bar and 1 - alpha_bar are swapped: alpha_bar = 1 is the event without noise.",
             (1 - b).sqrt() * x + b.sqrt() * noise),
            ("The noise is 1 - sqrt(alpha_bar); it should be sqrt(1 - alpha_bar).",
             b.sqrt() * x + (1 - b.sqrt()) * noise),
            ("Noise is added, not subtracted.", b.sqrt() * x - (1 - b).sqrt() * noise),
        ],
        "sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise; alpha_bar (n,) needs a second axis.",
    )  # fmt: skip
    given = [part.clone() for part in (x, noise, a)]
    expect("x_t", answer(*given), wanted, 1e-9, hint, tensor=True)
    untouched(given, (x, noise, a), "x_0 noise alpha_bar")
    return "signal and noise have variances alpha_bar and 1 - alpha_bar"


def check_path(answer):
    """Check the point and the velocity on straight paths, for tutorials 08a and 08b."""
    x_0, x_1 = _numbers(6, 3), 2 + _numbers(6, 3, seed=2)
    t = torch.tensor([0.0, 0.1, 0.35, 0.6, 0.9, 1.0], dtype=torch.float64)
    given = [part.clone() for part in (x_0, x_1, t)]
    result = answer(*given)
    if torch.is_tensor(result) and result.ndim == 3 and len(result) == 2:
        result = result.unbind()  # stacked: unpacks just as well
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise NotYet("return two tensors: the point on the path, and the velocity.")
    s = t[:, None]
    point, velocity = x_0 + s * (x_1 - x_0), x_1 - x_0
    hint = diagnose(
        [
            ("Time is reversed: t = 0 is the start, x_0, and t = 1 the event.", s * x_0 + (1 - s) * x_1),
            ("x_0 fades out: its factor is 1 - t.", x_0 + s * x_1),
            ("The sign of x_0: the path starts *at* x_0.", s * x_1 - (1 - s) * x_0),
            ("x_0 is missing: the path starts there.", s * x_1),
            ("The start fades with 1 - t, and the event grows with t.", (1 - s) * x_0 + x_1),
            ("The two results are swapped: first the point, then the velocity.", velocity),
            ("Those are the factors of diffusion; this path is a straight line.", (1 - s**2).sqrt() * x_0 + s * x_1),
            ("These are not straight lines: take 1 - t and t, not their roots.", (1 - s).sqrt() * x_0 + s.sqrt() * x_1),
        ],
        "(1 - t) x_0 + t x_1; t (n,) needs a second axis.",
    )
    expect("the point on the path", result[0], point, 1e-9, hint, tensor=True)
    hint = diagnose(
        [
            ("The sign: the velocity points from x_0 to x_1.", -velocity),
            ("x_0 is missing: the velocity is the derivative of the whole path.", x_1),
            (
                "The target depends on t: that is the way left. The path has one velocity all along.",
                x_1 - point,
            ),
            ("The derivative of t x_1 is x_1; leave t out.", s * velocity),
            ("The sign of x_0: the derivative of (1 - t) x_0 is -x_0.", x_1 + x_0),
            ("That is the point again; differentiate it by t.", point),
        ],
        "The derivative of the path with respect to t, x_1 - x_0 at all times.",
    )
    expect("the velocity", result[1], velocity, 1e-9, hint, tensor=True)
    untouched(given, (x_0, x_1, t), "x_0 x_1 t")


@exercise(reference=linear_path)
def path_and_velocity(answer):
    """Six pairs of noise and event, each at another time."""
    check_path(answer)
    return "a straight line, and its slope"


@exercise(reference=rk4_step)
def runge_kutta_step(answer):
    """One step of a field that depends on place and time, forwards and backwards; tutorial 08b asks for it, too."""
    x, t = _numbers(5, 2), 0.2

    def velocity(y, s):
        return torch.sin(2 * y) + 3 * s * y.flip(1)

    for dt in (0.3, -0.3):
        k_1 = velocity(x, t)
        k_2 = velocity(x + dt / 2 * k_1, t + dt / 2)
        k_3 = velocity(x + dt / 2 * k_2, t + dt / 2)
        k_4 = velocity(x + dt * k_3, t + dt)
        full_2 = velocity(x + dt * k_1, t + dt)
        full_3 = velocity(x + dt * full_2, t + dt)
        frozen_2 = velocity(x + dt / 2 * k_1, t)
        frozen_3 = velocity(x + dt / 2 * frozen_2, t)
        mean = (k_1 + 2 * k_2 + 2 * k_3 + k_4) / 6
        hint = diagnose(
            [
                ("That is one Euler step: it uses only the velocity at the start.", x + dt * k_1),
                ("That is the midpoint method: two more evaluations make it fourth order.", x + dt * k_2),
                ("That is Heun's method, with the velocities at both ends; the classical one has four.",
                 x + dt / 2 * (k_1 + full_2)),
                ("The weights are 1/4 each; they should be 1, 2, 2, 1 over 6.", x + dt * (k_1 + k_2 + k_3 + k_4) / 4),
                ("The middle ones are taken after a full step; k_2 and k_3 belong to half of it.",
                 x + dt * (k_1 + 2 * full_2 + 2 * full_3 + velocity(x + dt * full_3, t + dt)) / 6),
                ("The time must move with the place: half a step for k_2 and k_3, a full one for k_4.",
                 x + dt * (k_1 + 2 * frozen_2 + 2 * frozen_3 + velocity(x + dt * frozen_3, t)) / 6),
                ("k_3 starts where k_2 leads, not where k_1 leads.",
                 x + dt / 6 * (k_1 + 4 * k_2 + velocity(x + dt * k_2, t + dt))),
                ("k_4 is taken at x + dt k_3, a whole step further.", x + dt * (k_1 + 2 * k_2 + 2 * k_3
                 + velocity(x + dt / 2 * k_3, t + dt)) / 6),
                ("k_4 is taken after a full step.", x + dt * (k_1 + 2 * k_2 + 2 * k_3
                 + velocity(x + dt / 2 * k_3, t + dt / 2)) / 6),
                ("The weights 1, 2, 2, 1 add up to 6: divide by it.", x + dt * 6 * mean),
                ("Multiply the mean velocity by dt.", x + mean),
                ("That is the change; add it to x.", dt * mean),
            ],
            "x + dt (k_1 + 2 k_2 + 2 k_3 + k_4) / 6, each k from the one before.",
        )  # fmt: skip
        given = x.clone()
        expect(f"a step of {dt}", answer(velocity, given, t, dt), x + dt * mean, 1e-9, hint, tensor=True)
        untouched([given], [x], "x")
    one = torch.ones(1, 1, dtype=torch.float64)  # 1 - 1 + 1/2 - 1/6 + 1/24: the oracle is the series of exp
    expect("e^-1 by one step", answer(lambda x, t: -x, one.clone(), 0.0, 1.0), 0.375 * one, 1e-9, "Steps of any size.")
    return "four slopes with the weights 1, 2, 2, 1 over 6"


@exercise(reference=exact_divergence)
def divergence(answer):
    """A field of three features whose derivatives are known by formula."""
    x, t = _numbers(6, 3), 0.4

    def velocity(y, s):
        a, b, c = y.unbind(1)
        return torch.stack([a**2 * b + c, torch.sin(a) * s + b * c, a * b + c**3], dim=1)

    a, b, c = x.unbind(1)
    first, second, third = 2 * a * b, c, 3 * c**2
    wanted, off = first + second + third, (a**2 + 1) + (t * a.cos() + b) + (b + a)
    jacobian = [[first, a**2, torch.ones_like(a)], [t * a.cos(), c, b], [b, a, third]]
    hint = diagnose(
        [
            ("That is the sum of the whole Jacobian; only its diagonal, dv_i/dx_i, counts.", wanted + off),
            ("That is the sum over all events; each has its own divergence: sum over features only.", wanted.sum()),
            ("The batch is mixed: each event got the sum over all of them.", wanted.sum().expand(6)),
            ("The divergence is the sum of the diagonal, not its mean.", wanted / 3),
            ("That is the diagonal; sum it over the features.", torch.stack([first, second, third], dim=1)),
            ("That is the sum over the events of each dv_i/dx_i; the batch and the features are exchanged.",
             torch.stack([first, second, third], dim=1).sum(0)),
            ("That is the gradient of sum_i v_i: the columns of the Jacobian are added.",
             torch.stack([sum(row[i] for row in jacobian) for i in range(3)], dim=1)),
            ("That is the determinant of the Jacobian; the density changes by its trace.",
             torch.linalg.det(torch.stack([torch.stack(row, dim=1) for row in jacobian], dim=1))),
            ("That is the velocity itself, summed.", velocity(x, t).sum(1)),
        ],
        "For each feature i, the i-th column of the gradient of v_i.sum(); add them up.",
    )  # fmt: skip
    expect("the divergence", answer(velocity, x.clone(), t), wanted, 1e-9, hint, tensor=True)

    def rotation(y, s):
        if y.shape != (6, 2):
            raise NotYet(
                "call velocity with all n events: it knows the conditions of these n, not those of a single row."
            )
        return torch.stack([y[:, 1], -y[:, 0]], dim=1)

    still = answer(rotation, x[:, :2].clone(), t)
    expect("that of a rotation", still, torch.zeros(6), 1e-9, "A rotation keeps densities: its diagonal is zero.")
    return "the trace of the Jacobian, event by event"


def log_density_reference(z_0, integral, log_det, there):
    """Return log p (n,) from the place in the noise z_0 (n, d), the integral of the divergence, and log_det (n,)."""
    log_noise = -0.5 * z_0.square() - 0.5 * LOG_2_PI
    return torch.where(there, log_noise, 0.0).sum(dim=1) - integral + log_det


@exercise(reference=log_density_reference)
def log_density(answer):
    """Events with two or three of three features."""
    there = torch.tensor([[True, True, False]] * 3 + [[True] * 3] * 3)
    z, integral, log_det = _numbers(6, 3) * there, 0.5 + _numbers(6, seed=2), _numbers(6, seed=3)
    each = -0.5 * (z**2 + LOG_2_PI)
    noise = (each * there).sum(1)
    hint = diagnose(
        [
            ("The sign of the integral: where paths spread, the density falls.", noise + integral + log_det),
            ("The constant log(2 pi) / 2 counts only for the features that are there.",
             each.sum(1) - integral + log_det),
            ("The divergence is missing.", noise + log_det),
            ("log_det of the coordinates is missing: a density is per GeV, not per unit of z.", noise - integral),
            ("The sign of log_det: it is log|det dz/dx|.", noise - integral - log_det),
            ("The features are averaged: logarithms of independent densities are summed.",
             (each * there).sum(1) / there.sum(1) - integral + log_det),
            ("The constant log(2 pi) / 2 is missing.", (-0.5 * z**2).sum(1) - integral + log_det),
            ("That is the mean over the events; return one number for each.", (noise - integral + log_det).mean()),
        ],
        "log N of the features that are there, summed, minus the integral, plus log_det.",
    )  # fmt: skip
    expect("log p", answer(z, integral, log_det, there), noise - integral + log_det, 1e-9, hint, tensor=True)
    return "noise, minus the divergence on the way, plus the coordinates"


def _average_step(v, x, t, h):
    k_1 = v(x, t)
    k_2 = v(x + h / 2 * k_1, t + h / 2)
    k_3 = v(x + h / 2 * k_2, t + h / 2)
    return x + h * (k_1 + k_2 + k_3 + v(x + h * k_3, t + h)) / 4


def _full_step(v, x, t, h):
    k_1 = v(x, t)
    k_2 = v(x + h * k_1, t + h)
    k_3 = v(x + h * k_2, t + h)
    return x + h * (k_1 + 2 * k_2 + 2 * k_3 + v(x + h * k_3, t + h)) / 6


def _jacobian(v, x, t):
    return torch.stack([torch.autograd.functional.jacobian(lambda y: v(y[None], t)[0], row) for row in x])


def _each(a):
    return a[:, None]


MISTAKES = {
    "noised": [
        (lambda x, e, a: _each(a) * x + _each(1 - a) * e, "square roots are missing"),
        (lambda x, e, a: _each(a).sqrt() * x + _each(1 - a) * e, "root of 1 - alpha_bar is missing"),
        (lambda x, e, a: _each(1 - a).sqrt() * x + _each(a).sqrt() * e, "swapped"),
        (lambda x, e, a: _each(a).sqrt() * x + (1 - _each(a).sqrt()) * e, "should be sqrt(1 - alpha_bar)"),
        (lambda x, e, a: a.sqrt() * x + (1 - a).sqrt() * e, "raised RuntimeError"),
        (lambda x, e, a: e.mul_(_each(1 - a).sqrt()).add_(_each(a).sqrt() * x), "changes noise itself"),
    ],
    "path_and_velocity": [
        (lambda a, b, t: (_each(t) * a + _each(1 - t) * b, b - a), "Time is reversed"),
        (lambda a, b, t: (a + _each(t) * b, b), "fades out"),
        (lambda a, b, t: (_each(1 - t) * a + _each(t) * b, b), "x_0 is missing"),
        (lambda a, b, t: (_each(1 - t) * a + _each(t) * b, a - b), "points from x_0 to x_1"),
        (lambda a, b, t: (_each(1 - t) * a + _each(t) * b, _each(1 - t) * (b - a)), "target depends on t"),
        (lambda a, b, t: b - a, "two tensors"),
        (lambda a, b, t: (a + _each(t) * (b - a), b.sub_(a)), "changes x_1 itself"),
    ],
    "runge_kutta_step": [
        (lambda v, x, t, h: x + h * v(x, t), "one Euler step"),
        (lambda v, x, t, h: x + h * v(x + h / 2 * v(x, t), t + h / 2), "midpoint method"),
        (_average_step, "weights are 1/4"),
        (_full_step, "after a full step; k_2"),
        (lambda v, x, t, h: rk4_step(lambda y, s: v(y, t), x, t, h), "time must move"),
        (lambda v, x, t, h: rk4_step(v, x, t, h) - x, "add it to x"),
        (lambda v, x, t, h: x.copy_(rk4_step(v, x, t, h)), "changes x itself"),
        (lambda v, x, t, h: x + h / 2 * (v(x, t) + v(x + h * v(x, t), t + h)), "Heun's method"),
    ],
    "divergence": [
        (lambda v, x, t: _jacobian(v, x, t).sum((1, 2)), "sum of the whole Jacobian"),
        (lambda v, x, t: exact_divergence(v, x, t).sum(), "sum over all events"),
        (lambda v, x, t: exact_divergence(v, x, t).sum().expand(len(x)), "batch is mixed"),
        (lambda v, x, t: exact_divergence(v, x, t) / x.shape[1], "not its mean"),
        (lambda v, x, t: _jacobian(v, x, t).det(), "determinant"),
        (lambda v, x, t: _jacobian(v, x, t).diagonal(dim1=1, dim2=2).sum(1), "call velocity with all n events"),
    ],
    "log_density": [
        (lambda z, i, j, m: log_density_reference(z, -i, j, m), "sign of the integral"),
        (lambda z, i, j, m: log_density_reference(z, i, j, torch.ones_like(m)), "features that are there"),
        (lambda z, i, j, m: log_density_reference(z, 0, j, m), "divergence is missing"),
        (lambda z, i, j, m: log_density_reference(z, i, 0, m), "per GeV"),
    ],
}  # fmt: skip
