"""Exercises of tutorial 06a, event generation: each with the package's own answer and the mistakes it knows."""

import math

import torch
from torch import distributions

from .exercises import NotYet, diagnose, exercise, expect


def azimuth_difference_reference(phi_a, phi_b):
    """Return phi_a - phi_b in [-pi, pi)."""
    return torch.remainder(phi_a - phi_b + math.pi, 2 * math.pi) - math.pi


@exercise(reference=azimuth_difference_reference)
def azimuth_difference(answer):
    """Differences of directions on both sides of the cut, against the angle of complex numbers."""
    a = torch.tensor([3.0, -3.0, 0.5, -0.5, 3.1, 2.0, -1.0], dtype=torch.float64)
    b = torch.tensor([-3.0, 3.0, -0.2, 0.2, 0.1, 2.0, 3.0], dtype=torch.float64)
    plain = a - b
    wanted = torch.polar(torch.ones_like(plain), plain).angle()
    hint = diagnose(
        [
            ("Nothing is brought back: 3.0 and -3.0 are neighbours on the circle.", plain),
            ("That lies in 0 ... 2 pi; neighbours on both sides of 0 are far apart again.", plain % (2 * math.pi)),
            ("The sign is lost; keep it.", wanted.abs()),
            ("The sign is reversed: phi_a - phi_b.", -wanted),
            ("Clipping moves directions; turn them by 2 pi instead.", plain.clamp(-math.pi, math.pi)),
            ("Sine and cosine were not put together again; atan2(sin, cos) does.", plain.sin()),
            ("Whole turns have 2 pi, not pi.", torch.remainder(plain + math.pi / 2, math.pi) - math.pi / 2),
        ],
        "Add pi, take the remainder by 2 pi, subtract pi.",
    )
    expect("the difference", answer(a.clone(), b.clone()), wanted, 1e-6, hint, tensor=True)
    far = answer(a + 20 * math.pi, b.clone())
    expect("the difference after ten more turns", far, wanted, 1e-5, "A single turn of 2 pi is not always enough.")
    return "it is that of the directions, on both sides of the cut"


def affine_coupling_reference(x, stays, network):
    """Return z (n, d) and log|det dz/dx| (n,) of an affine coupling."""
    s, t = network(x[:, stays])
    z = x.clone()
    z[:, ~stays] = x[:, ~stays] * s.exp() + t
    return z, s.sum(dim=1)


def affine_coupling_inverse_reference(z, stays, network):
    """Return x (n, d) and log|det dx/dz| (n,), the inverse of an affine coupling."""
    s, t = network(z[:, stays])
    x = z.clone()
    x[:, ~stays] = (z[:, ~stays] - t) * (-s).exp()
    return x, -s.sum(dim=1)


def _coupling_case():
    """Return points, the mask, and a network of the features that stay."""
    generator = torch.Generator().manual_seed(21)
    x = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    stays = torch.tensor([True, False, True, False, False])
    scale, shift = torch.randn(2, 2, 3, dtype=torch.float64, generator=generator)

    def network(part):
        if part.shape[1] != 2:
            raise NotYet(
                f"the network was given {part.shape[1]} features; it takes the 2 that stay, x[:, stays]. With the ones "
                "that move, the layer could not be inverted."
            )
        return (part @ scale).tanh(), part @ shift

    return x, stays, network


def _pair(answer, *arguments):
    before = arguments[0].clone()
    result = answer(*arguments)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise NotYet("return two tensors: the features and log|det|.")
    if not torch.equal(before, arguments[0]):
        raise NotYet("the events that you were given were changed in place; work on a copy, x.clone().")
    return result


@exercise(reference=affine_coupling_reference)
def affine_coupling(answer):
    """Values against torch.distributions, log|det| against the Jacobian of the answer itself."""
    x, stays, network = _coupling_case()
    s, t = network(x[:, stays])
    z, log_det = _pair(answer, x.clone(), stays, network)
    transform = distributions.AffineTransform(t, s.exp())
    wanted, wrong = x.clone(), x[:, ~stays]
    wanted[:, ~stays] = transform(wrong)

    def put(values):
        return x.index_copy(1, (~stays).nonzero()[:, 0], values)

    known = [
        ("The sign of s is reversed: x exp(s) + t, not exp(-s).", put(wrong * (-s).exp() + t)),
        ("Shift first, then scale? Here the scale comes first: x exp(s) + t.", put((wrong + t) * s.exp())),
        ("That is the inverse.", put((wrong - t) * (-s).exp())),
        ("The scale is exp(s), which is never zero or negative, not s.", put(wrong * s + t)),
        ("The features are in another order: those that stay were put first. Write into a copy of x.",
         torch.cat([x[:, stays], wanted[:, ~stays]], 1)),
    ]  # fmt: skip
    expect("z", z, wanted, 1e-6, diagnose(known, "z = x where the mask is True, x exp(s) + t elsewhere."), tensor=True)
    right = transform.log_abs_det_jacobian(wrong, None).sum(1)
    known = [
        ("The sign is reversed: log|det dz/dx| is + sum s.", -right),
        ("The sum runs over the wrong axis: one number for each event, sum(dim=1).", s.sum(0)),
        ("That is one number for all events; keep one for each.", s.sum()),
        ("Average over the features? A determinant is a product, its logarithm a sum.", s.mean(1)),
        ("That is the determinant; return its logarithm.", right.exp()),
        ("The sum over the features is missing.", s),
        ("A sum of exp(s) is not the logarithm of a product.", s.exp().sum(1)),
    ]
    expect("log|det|", log_det, right, 1e-6, diagnose(known, "The sum of s over the features."), tensor=True)
    return "values and determinant agree with torch.distributions"


@exercise(reference=affine_coupling_inverse_reference)
def affine_coupling_inverse(answer):
    """It leads back from the reference's z, with minus its log|det|."""
    x, stays, network = _coupling_case()
    z, log_det = affine_coupling_reference(x, stays, network)
    s, t = network(x[:, stays])
    again, back = _pair(answer, z.clone(), stays, network)
    moved, places = z[:, ~stays], (~stays).nonzero()[:, 0]
    known = [
        ("The order is reversed: first take t away, then divide by exp(s).",
         z.index_copy(1, places, moved * (-s).exp() - t)),
        ("That is the forward direction.", z.index_copy(1, places, moved * s.exp() + t)),
        ("t has the wrong sign.", z.index_copy(1, places, (moved + t) * (-s).exp())),
        ("The scale is not undone: divide by exp(s).", z.index_copy(1, places, (moved - t) * s.exp())),
        ("The scale is not undone: divide by exp(s).", z.index_copy(1, places, moved - t)),
    ]  # fmt: skip
    expect("x", again, x, 1e-6, diagnose(known, "x = (z - t) exp(-s) where the mask is False."), tensor=True)
    known = [
        ("The sign is that of the forward direction; the inverse has the opposite one.", log_det),
        ("The sum runs over the wrong axis: one number for each event, sum(dim=1).", -s.sum(0)),
        ("That is one number for all events; keep one for each.", -s.sum()),
    ]
    expect("log|det dx/dz|", back, -log_det, 1e-6, diagnose(known, "Minus the sum of s."), tensor=True)
    return "it leads back to where the coupling began"


def negative_log_likelihood_reference(z, log_det):
    """Return the mean of -log p(x) over the events."""
    log_gauss = -(z**2) / 2 - math.log(2 * math.pi) / 2
    return -(log_gauss.sum(dim=1) + log_det).mean()


@exercise(reference=negative_log_likelihood_reference)
def negative_log_likelihood(answer):
    """Against torch.distributions, for numbers of events and features that differ."""
    generator = torch.Generator().manual_seed(22)
    z = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    log_det = torch.randn(7, dtype=torch.float64, generator=generator)
    gauss = distributions.Normal(torch.zeros(3, dtype=torch.float64), 1.0).log_prob(z)
    wanted, constant = -(gauss.sum(1) + log_det).mean(), 1.5 * math.log(2 * math.pi)
    known = [
        ("The log-det has the wrong sign: it is added to log N(z).", -(gauss.sum(1) - log_det).mean()),
        ("The log-det is missing: without it all events would be drawn to z = 0.", -gauss.sum(1).mean()),
        ("The constant log(2 pi) / 2 of each feature is missing.", wanted - constant),
        ("The constant counts once for each of the d features.", wanted - constant * 2 / 3),
        ("The mean runs over features as well; a density of d features is a product, its logarithm a sum.",
         -(gauss.mean(1) + log_det).mean()),
        ("That is the sum over events, which grows with the batch; take the mean.", 7 * wanted),
        ("That is log p itself; a loss is minimised.", -wanted),
        ("The factor 1/2 of the square is missing.", (z**2).sum(1).mean() + constant - log_det.mean()),
        ("That is one number for each event; take the mean.", -(gauss.sum(1) + log_det)),
    ]  # fmt: skip
    hint = diagnose(known, "The sum over features of log N(z), plus the log-det, minus its mean over events.")
    expect("the loss", answer(z.clone(), log_det.clone()), wanted, 1e-6, hint, tensor=True)
    return "it agrees with torch.distributions"


def density_ratio_reference(logit, n_true, n_generated):
    """Return w = p_true / p_generated for the logits of a classifier."""
    return logit.exp() * n_generated / n_true


@exercise(reference=density_ratio_reference)
def density_ratio(answer):
    """Two Gaussians whose ratio is known, with three true events for each generated one."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    true, generated = distributions.Normal(0.3, 1.0), distributions.Normal(0.0, 1.0)
    wanted = (true.log_prob(x) - generated.log_prob(x)).exp()
    n_true, n_generated = 3000, 1000
    logit = wanted.log() + math.log(n_true / n_generated)
    d = logit.sigmoid()
    known = [
        ("The frequencies are missing: multiply by n_generated / n_true.", logit.exp()),
        ("The factor of the frequencies is upside down: n_generated / n_true.", logit.exp() * 3),
        ("That is D, not D / (1 - D).", d),
        ("That is D, not D / (1 - D).", d / 3),
        ("The logit was taken for D: D = 1 / (1 + exp(-logit)).", logit / (1 - logit)),
        ("The logit was taken for D: D = 1 / (1 + exp(-logit)).", logit / (1 - logit) / 3),
        ("That is the inverse: generated over true.", 1 / wanted),
        ("That is the inverse: (1 - D) / D.", (-logit).exp() / 3),
        ("That is the logarithm of the weight.", wanted.log()),
    ]
    hint = diagnose(known, "exp(logit) times n_generated / n_true.")
    expect("the ratio of the densities", answer(logit.clone(), n_true, n_generated), wanted, 1e-6, hint, tensor=True)
    return "it is the ratio of the two densities, whatever the numbers of events"


def _with_dets(change):
    """Return a coupling whose log|det| is changed."""

    def wrong(x, stays, network):
        z, _ = affine_coupling_reference(x, stays, network)
        return z, change(network(x[:, stays])[0])

    return wrong


def _with_values(change):
    """Return a coupling whose moved features are changed: change(x_moved, s, t)."""

    def wrong(x, stays, network):
        s, t = network(x[:, stays])
        z = x.clone()
        z[:, ~stays] = change(x[:, ~stays], s, t)
        return z, s.sum(1)

    return wrong


def _inverse_with(values, log_det):
    def wrong(z, stays, network):
        s, t = network(z[:, stays])
        x = z.clone()
        x[:, ~stays] = values(z[:, ~stays], s, t)
        return x, log_det(s)

    return wrong


def _not_complementary(x, stays, network):
    s, _ = network(x[:, ~stays])
    return x, s.sum(1)


def _in_place(x, stays, network):
    s, t = network(x[:, stays])
    x[:, ~stays] = x[:, ~stays] * s.exp() + t
    return x, s.sum(1)


def _log_gauss(z):
    return -(z**2) / 2 - math.log(2 * math.pi) / 2


MISTAKES = {
    "azimuth_difference": [
        (lambda a, b: a - b, "Nothing is brought back"),
        (lambda a, b: (a - b) % (2 * math.pi), "0 ... 2 pi"),
        (lambda a, b: azimuth_difference_reference(a, b).abs(), "sign is lost"),
        (lambda a, b: azimuth_difference_reference(b, a), "sign is reversed"),
        (lambda a, b: (a - b).clamp(-math.pi, math.pi), "Clipping"),
        (lambda a, b: a - b - 2 * math.pi * torch.sign(a - b) * ((a - b).abs() > math.pi), "A single turn"),
    ],
    "affine_coupling": [
        (_with_dets(lambda s: -s.sum(1)), "sign is reversed"),
        (_with_dets(lambda s: s.sum(0)), "wrong axis"),
        (_with_dets(lambda s: s.sum()), "one number for all events"),
        (_with_dets(lambda s: s.mean(1)), "its logarithm a sum"),
        (_with_dets(lambda s: s.sum(1).exp()), "return its logarithm"),
        (_not_complementary, "it takes the 2 that stay"),
        (_in_place, "changed in place"),
        (_with_values(lambda x, s, t: (x - t) * (-s).exp()), "That is the inverse"),
        (_with_values(lambda x, s, t: x * s + t), "never zero or negative"),
        (lambda x, stays, network: affine_coupling_reference(x, stays, network)[0], "return two tensors"),
    ],
    "affine_coupling_inverse": [
        (_inverse_with(lambda z, s, t: z * (-s).exp() - t, lambda s: -s.sum(1)), "The order is reversed"),
        (_inverse_with(lambda z, s, t: z * s.exp() + t, lambda s: -s.sum(1)), "forward direction"),
        (_inverse_with(lambda z, s, t: (z - t) * (-s).exp(), lambda s: s.sum(1)), "the inverse has the opposite"),
        (_inverse_with(lambda z, s, t: (z - t) * (-s).exp(), lambda s: -s.sum(0)), "wrong axis"),
    ],
    "negative_log_likelihood": [
        (lambda z, log_det: -(_log_gauss(z).sum(1) - log_det).mean(), "wrong sign"),
        (lambda z, log_det: -_log_gauss(z).sum(1).mean(), "log-det is missing"),
        (lambda z, log_det: ((z**2).sum(1) / 2 - log_det).mean(), "constant log(2 pi) / 2"),
        (lambda z, log_det: -(_log_gauss(z).mean(1) + log_det).mean(), "mean runs over features"),
        (lambda z, log_det: -(_log_gauss(z).sum(1) + log_det).sum(), "grows with the batch"),
        (lambda z, log_det: (_log_gauss(z).sum(1) + log_det).mean(), "log p itself"),
    ],
    "density_ratio": [
        (lambda logit, n, m: logit.exp(), "frequencies are missing"),
        (lambda logit, n, m: logit.exp() * n / m, "upside down"),
        (lambda logit, n, m: logit.sigmoid(), "That is D"),
        (lambda logit, n, m: logit / (1 - logit) * m / n, "taken for D"),
        (lambda logit, n, m: (-logit).exp() * n / m, "inverse"),
    ],
}
