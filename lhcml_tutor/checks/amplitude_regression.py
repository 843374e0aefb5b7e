"""Exercises of tutorial 01a, amplitude regression: each with the package's own answer and the mistakes it knows."""

import math

import torch
from torch import nn

from .. import kinematics
from ..physics.phase_space import rambo
from .exercises import NotYet, exercise, expect

M_Z = 91.1876  # GeV


def _events(n=50):
    """Return a few Z + gluon events: momenta (n, 4, 4) of quark, antiquark, Z, gluon, with energies that differ."""
    generator = torch.Generator().manual_seed(7)
    events = []
    for energy in (400.0, 900.0):
        final, _ = rambo(2, [M_Z, 0.0], energy, n, generator)
        beam = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, -1.0]], dtype=final.dtype) * energy / 2
        events.append(torch.cat([beam.expand(n, 2, 4), final], dim=1))
    return torch.cat(events)


@exercise(reference=kinematics.mandelstam)
def mandelstam(answer):
    """s = (p_a + p_b)^2, t = (p_a - p_1)^2, u = (p_a - p_2)^2."""
    momenta = _events()
    result = answer(momenta)
    if not isinstance(result, (tuple, list)) or len(result) != 3:
        raise NotYet("return three tensors: s, t, u.")
    s, t, u = result
    a, b, c, d = momenta.unbind(dim=1)
    square = kinematics.mass_squared
    wanted = {"s": square(a + b), "t": square(a - c), "u": square(a - d)}

    def hint(value, right):
        euclidean = {"s": (a + b), "t": (a - c), "u": (a - d)}
        if value.shape == right.shape and any(torch.allclose(value, (p**2).sum(-1)) for p in euclidean.values()):
            return "Did you add all four squares? The metric is (+,-,-,-): E^2 - px^2 - py^2 - pz^2."
        if value.shape == right.shape and torch.allclose(value, square(a + c)):
            return "Is the sign between an incoming and an outgoing momentum a minus? t = (p_a - p_1)^2."
        if value.shape == right.shape and any(torch.allclose(value, w) for w in wanted.values()):
            return "Are t and u swapped? t belongs to the first outgoing particle, the Z."
        if value.shape == right.shape and torch.allclose(value, right.abs().sqrt(), rtol=1e-3):
            return "Did you take the square root? Mandelstam variables are squared masses, in GeV^2."
        return "Square the four-vector: s = (p_a + p_b)^2 = E^2 - |p|^2 of the sum."

    for name, value in (("s", s), ("t", t), ("u", u)):
        expect(name, value, wanted[name], 1e-9, hint)
    return "s + t + u equals the square of the Z mass in every event"


def gaussian_loss_reference(prediction, truth, sigma):
    """Return the mean of -log N(truth | prediction, sigma) over the events."""
    return ((prediction - truth) ** 2 / (2 * sigma**2)).mean() + math.log(sigma) + 0.5 * math.log(2 * math.pi)


@exercise(reference=gaussian_loss_reference)
def gaussian_loss(answer):
    """The mean negative log-likelihood of a Gaussian of known width."""
    generator = torch.Generator().manual_seed(3)
    truth = torch.randn(1000, generator=generator, dtype=torch.float64)
    prediction = truth + 0.3 * torch.randn(1000, generator=generator, dtype=torch.float64)
    for sigma in (1.0, 0.2):
        value = answer(prediction, truth, sigma)
        wanted = gaussian_loss_reference(prediction, truth, sigma)
        squares = ((prediction - truth) ** 2 / (2 * sigma**2)).mean()

        def hint(value, wanted, sigma=sigma, squares=squares):
            if value.numel() == 1 and torch.isclose(value, -wanted):
                return "The sign: a loss is minimised, so it is minus the log-likelihood."
            if value.numel() == 1 and torch.isclose(value, wanted * 1000):
                return "Take the mean over the events, not the sum; else the learning rate depends on the batch size."
            if value.numel() == 1 and torch.isclose(value, squares):
                return "The normalisation of the Gaussian is missing: log sigma + log(2 pi)/2."
            if value.numel() == 1 and torch.isclose(value, squares + math.log(sigma)):
                return "Almost: the constant log(2 pi)/2 is missing."
            if value.numel() == 1 and torch.isclose(value, 2 * squares + math.log(sigma) + 0.5 * math.log(2 * math.pi)):
                return "The exponent of a Gaussian has a factor 1/2."
            return "Write -log N(y | f, sigma) = (f - y)^2 / (2 sigma^2) + log sigma + log(2 pi)/2, then take the mean."

        expect(f"the loss at sigma = {sigma:g}", value, wanted, 1e-9, hint)
    return "it is (MSE / 2 sigma^2) plus a constant, so both have their minimum at the same network"


def standardise_reference(train, *others):
    """Return all samples with the training sample's mean subtracted and divided by its standard deviation."""
    mean, std = train.mean(dim=0), train.std(dim=0)
    std = torch.where(std > 0, std, torch.ones_like(std))
    return tuple((x - mean) / std for x in (train, *others))


@exercise(reference=standardise_reference)
def standardise(answer):
    """Mean 0 and width 1 for the training sample; the others are moved by the same numbers."""
    generator = torch.Generator().manual_seed(5)
    train = 300 + 50 * torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    test = 500 + 90 * torch.randn(500, 3, generator=generator, dtype=torch.float64)
    train[:, 2] = test[:, 2] = 0.0  # the transverse momentum of a beam never varies
    result = answer(train, test)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise NotYet("return one tensor per sample: the training sample first, then the others.")
    x_train, x_test = result
    if not (torch.isfinite(x_train).all() and torch.isfinite(x_test).all()):
        raise NotYet(
            "the third column never varies, so its width is 0 and 0/0 is not a number. Divide such a column by 1."
        )

    def hint(value, wanted):
        if value.shape == wanted.shape and value[:, :2].mean().abs() < 1e-6 and wanted.mean().abs() > 0.1:
            return "The test sample has its own mean and width subtracted: use the training sample's for both."
        together = torch.cat([train, test])
        if value.shape == wanted.shape and torch.allclose(
            value[:, :2], ((wanted * train.std(0) + train.mean(0) - together.mean(0)) / together.std(0))[:, :2]
        ):
            return "Mean and width come from both samples together: the test sample must not leak into the training."
        undivided = wanted[:, :2].mean(0) * train.std(0)[:2]
        if value.shape == wanted.shape and torch.allclose(value[:, :2].mean(0), undivided):
            return "The mean is subtracted, but the width is not divided out."
        return "Subtract train.mean(dim=0), then divide by train.std(dim=0), in every sample."

    wanted_train, wanted_test = standardise_reference(train, test)
    expect("the training sample", x_train, wanted_train, 1e-3, hint)
    expect("the test sample", x_test, wanted_test, 1e-3, hint)
    return "mean and width come from the training sample alone"


def training_step_reference(model, optimiser, x, y):
    """Take one step of gradient descent on the MSE of a batch; return the loss before the step."""
    optimiser.zero_grad()
    loss = ((model(x).squeeze(-1) - y) ** 2).mean()
    loss.backward()
    optimiser.step()
    return loss.detach()


@exercise(reference=training_step_reference)
def training_step(answer):
    """Two steps of plain gradient descent on a line, against the same steps by pencil."""
    x = torch.linspace(-1, 1, 11, dtype=torch.float64)[:, None]
    y = 3 * x.squeeze(-1) + 1
    model = nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.bias.fill_(0.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    weight, bias, path = 1.0, 0.0, []
    for _ in range(2):
        residual = weight * x.squeeze(-1) + bias - y
        path.append(float((residual**2).mean()))
        slope = [float(2 * (residual * x.squeeze(-1)).mean()), float(2 * residual.mean())]
        weight, bias = weight - 0.1 * slope[0], bias - 0.1 * slope[1]
        path.append((weight, bias))
    first = answer(model, optimiser, x, y)
    weight_now = model.weight.item()

    def hint(value, wanted):
        if weight_now == 1.0:
            return "The weights did not move: are both loss.backward() and optimiser.step() there?"
        if value.numel() == 1 and value > 3 * wanted:
            return "Compare shapes: model(x) is (n, 1), y is (n,); their difference would be (n, n). Use .squeeze(-1)."
        return "The order is: zero_grad, loss, backward, step; return the loss."

    expect("the loss before the first step", first, path[0], 1e-9, hint)
    expect("the slope after one step", model.weight.detach().squeeze(), path[1][0], 1e-9, hint)
    answer(model, optimiser, x, y)
    expect(
        "the slope after two steps",
        model.weight.detach().squeeze(),
        path[3][0],
        1e-9,
        "One step is right, two are not: gradients add up in torch; clear them with optimiser.zero_grad() each step.",
    )
    return "two steps agree with the same two steps by pencil"


def relative_deviation_reference(log_prediction, log_truth):
    """Return Delta = (A_nn - A_true) / A_true from the two logarithms, without ever forming A."""
    return torch.expm1(log_prediction - log_truth)


@exercise(reference=relative_deviation_reference)
def relative_deviation(answer):
    """Delta = (A_nn - A_true) / A_true, from logarithms."""
    log_truth = torch.tensor([-3.0, 0.5, 8.0, 2.0], dtype=torch.float64)
    delta = torch.tensor([0.1, -0.2, 1e-4, 0.0], dtype=torch.float64)
    value = answer(log_truth + torch.log1p(delta), log_truth)

    def hint(value, wanted):
        if value.shape == wanted.shape and torch.allclose(value, torch.log1p(wanted)):
            return "That is the difference of the logarithms: right for small deviations only. Undo the logarithm."
        if value.shape == wanted.shape and torch.allclose(value, 1 / (1 + wanted) - 1):
            return "Prediction and truth are swapped: divide by the truth."
        if value.shape == wanted.shape and torch.allclose(value, wanted.abs()):
            return "Keep the sign: Delta says whether the network is too high or too low."
        if value.shape == wanted.shape and torch.allclose(value, 1 + wanted):
            return "That is the ratio A_nn / A_true: subtract 1."
        return "A_nn / A_true = exp(log_prediction - log_truth); subtract 1."

    expect("Delta", value, delta, 1e-9, hint)
    return "10% too high in the amplitude is Delta = 0.1"


LEARNING_CURVES = {"A": "steps", "B": "data", "C": "size"}


def recipes(n_train, steps):
    """Return the settings of the trainings A, B and C, kept here so that their curves have to speak for themselves.

    Shapes:
        n_train and steps of a sound training -> {"A": {"points", "hidden", "steps", "learning_rate"}, ...}
    Example:
        >>> sorted(recipes(n_train=20_000, steps=400))
        ['A', 'B', 'C']
    """
    return {
        "A": {"points": n_train, "hidden": (64, 64), "steps": steps // 4, "learning_rate": 5e-4},
        "B": {"points": 100, "hidden": (128, 128), "steps": steps, "learning_rate": 5e-3},
        "C": {"points": n_train, "hidden": (2,), "steps": steps // 2, "learning_rate": 3e-3},
    }


@exercise(reference=LEARNING_CURVES)
def learning_curves(answer):
    """Read which of three learning curves gains from more steps, which from more data, which from a larger network."""
    if not isinstance(answer, dict) or set(answer) != set(LEARNING_CURVES):
        raise NotYet('write a dictionary with the keys "A", "B" and "C".')
    reasons = {
        "A": "Both losses of A still fall at the last step, side by side.",
        "B": "In B the training loss falls on, the validation loss does not: the network learns its points by heart.",
        "C": "In C both losses lie on one flat line, far above the others: the function is too stiff for its points.",
    }
    for key, wanted in LEARNING_CURVES.items():
        given = str(answer[key]).strip().lower()
        if given not in ("steps", "data", "size"):
            raise NotYet(f'{key} is {answer[key]!r}; choose "steps", "data" or "size".')
        if given != wanted:
            raise NotYet(f"look again at {key}. {reasons[key]}")
    return "A gains from more steps, B from more data, C from a larger network"


def _mistaken_standardise_leak(train, *others):
    everything = torch.cat([train, *others])
    std = everything.std(dim=0)
    std = torch.where(std > 0, std, torch.ones_like(std))
    return tuple((x - everything.mean(dim=0)) / std for x in (train, *others))


def _mistaken_step(zero=True, move=True, squeeze=True):
    def step(model, optimiser, x, y):
        if zero:
            optimiser.zero_grad()
        loss = (((model(x).squeeze(-1) if squeeze else model(3 * x)) - y) ** 2).mean()
        loss.backward()
        if move:
            optimiser.step()
        return loss.detach()

    return step


def _four_squares(p):
    return (p**2).sum(-1)


MISTAKES = {
    "mandelstam": [
        (lambda p: tuple(map(_four_squares, (p[:, 0] + p[:, 1], p[:, 0] - p[:, 2], p[:, 0] - p[:, 3]))), "metric"),
        (lambda p: tuple(kinematics.mass_squared(p[:, 0] + p[:, i]) for i in (1, 2, 3)), "minus"),
        (lambda p: tuple(kinematics.mandelstam(p)[i] for i in (0, 2, 1)), "swapped"),
    ],
    "gaussian_loss": [
        (lambda f, y, s: -gaussian_loss_reference(f, y, s), "sign"),
        (lambda f, y, s: ((f - y) ** 2 / (2 * s**2)).mean(), "normalisation"),
        (lambda f, y, s: gaussian_loss_reference(f, y, s) * len(y), "mean over the events"),
    ],
    "standardise": [
        (lambda *samples: tuple(standardise_reference(x)[0] for x in samples), "use the training sample's"),
        (_mistaken_standardise_leak, "leak"),
        (lambda *samples: tuple((x - samples[0].mean(0)) / samples[0].std(0) for x in samples), "not a number"),
    ],
    "training_step": [
        (_mistaken_step(zero=False), "zero_grad"),
        (_mistaken_step(move=False), "did not move"),
        (_mistaken_step(squeeze=False), "squeeze"),
    ],
    "relative_deviation": [
        (lambda f, y: f - y, "difference of the logarithms"),
        (lambda f, y: torch.expm1(y - f), "swapped"),
        (lambda f, y: torch.expm1(f - y).abs(), "sign"),
    ],
    "learning_curves": [
        ({"A": "data", "B": "data", "C": "size"}, "still fall"),
        ({"A": "steps", "B": "size", "C": "data"}, "by heart"),
    ],
}
