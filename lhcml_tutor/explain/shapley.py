"""Shapley values: how the answer of a model is shared out among its inputs.

    values = shapley_values(model, x, background)             # (n, d), exact, for some ten inputs
    values, error = sampled_shapley(model, x, background)     # (n, d) each, for any number of inputs

A coalition S of inputs is known, the others are not. What a model says then, v(S), has to be defined, and that is where
the trap is: `coalitions` takes unknown inputs from other events, whatever the known ones are (marginal);
`conditional_coalitions` draws them as they are given the known ones.
"""

import math
from typing import NamedTuple

import torch


def weights_of_coalitions(d):
    """Return how much a coalition of 0 ... d - 1 others counts for a player: how often a random order makes it.

        w(s) = s! (d - s - 1)! / d!

    Shapes:
        d -> (d,) float64; sum_s binomial(d - 1, s) w(s) = 1
    Raises:
        ValueError: d < 1.
    Example:
        >>> weights_of_coalitions(3)
        tensor([0.3333, 0.1667, 0.3333], dtype=torch.float64)

    Reference: Shapley 1953, A value for n-person games, doi:10.1515/9781400881970-018.
    """
    if d < 1:
        raise ValueError(f"a game needs at least one player, not {d}")
    return torch.tensor([1 / (d * math.comb(d - 1, s)) for s in range(d)], dtype=torch.float64)


def members(d):
    """Return all coalitions of d players; the number of a coalition in binary says who is in it.

    Shapes:
        d -> (2^d, d) bool
    Raises:
        ValueError: d < 1, or so many that 2^d coalitions would not end.
    Example:
        >>> members(2).int()
        tensor([[0, 0],
                [1, 0],
                [0, 1],
                [1, 1]], dtype=torch.int32)
    """
    if not 1 <= d <= 16:
        raise ValueError(f"2^d coalitions need 1 to 16 inputs, not {d}; beyond that use sampled_shapley")
    return (torch.arange(2**d)[:, None] >> torch.arange(d)) & 1 > 0


def shapley_of_game(worth):
    """Return the Shapley value of each player from the worth of all coalitions.

        phi_i = sum over S without i of  |S|! (d - |S| - 1)! / d!  (v(S + i) - v(S))

    Arguments:
        worth: v(S) of the coalitions in the order of `members`.
    Shapes:
        worth (2^d, ...) -> (d, ...)
    Raises:
        ValueError: the number of coalitions is no power of two.
    Example:
        >>> shapley_of_game(torch.tensor([0.0, 1.0, 3.0, 10.0]))      # (1 + 10 - 3) / 2 and (3 + 10 - 1) / 2
        tensor([4., 6.])

    Reference: Shapley 1953, A value for n-person games, doi:10.1515/9781400881970-018.
    """
    d = len(worth).bit_length() - 1
    if d < 1 or len(worth) != 2**d:
        raise ValueError(f"there are 2^d coalitions of d players; {len(worth)} is no power of two above 1")
    inside = members(d).to(worth.device)
    size = inside.sum(1)
    weights = weights_of_coalitions(d).to(worth)
    values = []
    for i in range(d):
        without = torch.nonzero(~inside[:, i])[:, 0]
        gain = worth[without + 2**i] - worth[without]  # (2^(d-1), ...)
        values.append(torch.tensordot(weights[size[without]], gain, dims=1))
    return torch.stack(values)


@torch.no_grad()
def coalitions(function, x, background, batch_size=2**16):
    """Return the worth of all coalitions with unknown inputs from other events, whatever the known ones are: marginal.

        v(S) = 1/m sum_b f(x_S, b_rest)

    Arguments:
        function: f of (k, d), gives (k,).
        background: events b.
        batch_size: rows that f sees at once; it bounds the memory.
    Shapes:
        x (n, d), background (m, d) -> (2^d, n)
    Raises:
        ValueError: x, background or the answer of f has another shape or is not finite, or d > 16.
    Example:
        >>> x, background = torch.tensor([[1.0, 2.0]]), torch.zeros(5, 2)
        >>> coalitions(lambda x: x[:, 0] * x[:, 1], x, background)[:, 0]
        tensor([0., 0., 0., 2.])

    Reference: Strumbelj, Kononenko 2014, doi:10.1007/s10115-013-0679-x; Lundberg, Lee 2017, arXiv:1705.07874.
    """
    _check_events(x, background)
    worth = []
    for known in members(x.shape[1]).to(x.device):
        parts = []
        for some in x.split(max(1, batch_size // len(background))):
            mixed = torch.where(known, some[:, None], background)  # (some, m, d)
            parts.append(_evaluated(function, mixed.flatten(0, 1), batch_size).view(len(some), -1).mean(1))
        worth.append(torch.cat(parts))
    return torch.stack(worth)


@torch.no_grad()
def conditional_coalitions(function, x, mean, covariance, draws=256, seed=1, batch_size=2**16):
    """Return the worth of all coalitions with unknown inputs drawn given the known ones, all inputs Gaussian together.

        v(S) = < f(x_S, x_R) >,    x_R ~ N( mean_R + C_RS C_SS^-1 (x_S - mean_S),  C_RR - C_RS C_SS^-1 C_SR )

    Half of the draws are mirror images of the others, so that a linear f comes out exact; otherwise the error falls
    like 1 / sqrt(draws). All events and coalitions share the draws. For the Gaussian of a sample b: mean = b.mean(0),
    covariance = b.T.cov().

    Arguments:
        function, batch_size: as in `coalitions`.
        mean, covariance: of the inputs; inputs may depend on each other completely.
        draws: of the unknown inputs, an even number.
        seed: of the draws.
    Shapes:
        x (n, d), mean (d,), covariance (d, d) -> (2^d, n)
    Raises:
        ValueError: as in `coalitions`; the matrix is no covariance; draws is not even.
    Example:
        >>> x, covariance = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, 0.5], [0.5, 1.0]])
        >>> conditional_coalitions(lambda x: x[:, 0], x, torch.zeros(2), covariance)[2]        # x_2 = 1 alone is known
        tensor([0.5000])

    Reference: Aas, Jullum, Loland 2019, arXiv:1903.10464.
    """
    _check_events(x, mean[None])
    _check_covariance(covariance, x.shape[1])
    if draws < 2 or draws % 2:
        raise ValueError(f"draws come in pairs of mirror images: use an even number, at least 2, not {draws}")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(draws // 2, x.shape[1], generator=generator, dtype=x.dtype).to(x.device)
    noise = torch.cat([noise, -noise])  # (draws, d)
    mean, covariance = mean.to(x), covariance.to(x.device, torch.float64)  # nearly equal inputs need the digits
    worth = []
    for known in members(x.shape[1]).to(x.device):
        rest = ~known
        slope = covariance[rest][:, known] @ torch.linalg.pinv(covariance[known][:, known], hermitian=True)
        variance, axes = torch.linalg.eigh(covariance[rest][:, rest] - slope @ covariance[known][:, rest])
        scatter = noise[:, rest] @ (axes * variance.clamp(min=0).sqrt()).T.to(x)  # (draws, rest)
        slope = slope.to(x)
        parts = []
        for some in x.split(max(1, batch_size // draws)):
            middle = mean[rest] + (some[:, known] - mean[known]) @ slope.T  # (some, rest)
            drawn = some[:, None].repeat(1, draws, 1)
            drawn[..., rest] = middle[:, None] + scatter
            parts.append(_evaluated(function, drawn.flatten(0, 1), batch_size).view(len(some), -1).mean(1))
        worth.append(torch.cat(parts))
    return torch.stack(worth)


def shapley_values(function, x, background):
    """Return the exact Shapley values of each input of each event, unknown inputs taken from the background.

        sum_i phi_i = f(x) - mean f(background)

    Arguments:
        as in `coalitions`.
    Shapes:
        x (n, d), background (m, d) -> (n, d)
    Raises:
        ValueError: as in `coalitions`.
    Example:
        >>> x, background = torch.tensor([[1.0, 2.0]]), torch.zeros(5, 2)
        >>> shapley_values(lambda x: 3 * x[:, 0] + x[:, 0] * x[:, 1], x, background)       # the product is halved
        tensor([[4., 1.]])

    Reference: Lundberg, Lee 2017, arXiv:1705.07874.
    """
    return shapley_of_game(coalitions(function, x, background)).T


class Sampled(NamedTuple):
    """Estimated Shapley values and their standard errors, (n, d) each."""

    values: torch.Tensor
    error: torch.Tensor


@torch.no_grad()
def sampled_shapley(function, x, background, pairs=500, seed=1, batch_size=2**16):
    """Estimate Shapley values from random orders in which the inputs of an event b become those of x, one by one.

        phi_i = < f(x_before, x_i, b_after) - f(x_before, b_i, b_after) >  over orders and events b
        error = standard deviation of the pairs / sqrt(pairs)

    A pair is an order and its reverse with the same b. For sums of functions of one or two inputs their mean is the
    same for every order, so that only the choice of b is left to scatter. The cost is linear in d, not 2^d.

    Arguments:
        function, background, batch_size: as in `coalitions`.
        pairs: of orders for each event; f sees 2 (d + 1) pairs rows for each event.
        seed: of the orders and the choice of b.
    Shapes:
        x (n, d), background (m, d) -> Sampled of (n, d), (n, d)
    Raises:
        ValueError: as in `coalitions` (any d will do); fewer than 2 pairs.
    Example:
        >>> x, background = torch.tensor([[1.0, 2.0]]), torch.zeros(5, 2)
        >>> sampled_shapley(lambda x: 3 * x[:, 0] + x[:, 0] * x[:, 1], x, background)
        Sampled(values=tensor([[4., 1.]]), error=tensor([[0., 0.]]))

    Reference: Strumbelj, Kononenko 2014, doi:10.1007/s10115-013-0679-x; Mitchell et al. 2021, arXiv:2104.12199.
    """
    _check_events(x, background)
    if pairs < 2:
        raise ValueError(f"pairs must be at least 2 for a standard error, not {pairs}")
    d, generator = x.shape[1], torch.Generator().manual_seed(seed)
    values, errors = [], []
    stages = torch.arange(d + 1, device=x.device)[:, None]
    for some in x.split(max(1, batch_size // (pairs * (d + 1)))):
        k = len(some)
        place = torch.rand(k, pairs, d, generator=generator).argsort(-1).to(x.device)  # of each input in the order
        other = background[torch.randint(len(background), (k, pairs), generator=generator).to(x.device)]
        gains = []
        for turn in (place, d - 1 - place):
            known = turn[..., None, :] < stages  # (k, pairs, d + 1, d)
            mixed = torch.where(known, some[:, None, None], other[:, :, None])
            answer = _evaluated(function, mixed.flatten(0, 2), batch_size).view(k, pairs, d + 1)
            gains.append(answer.diff(dim=-1).gather(-1, turn))  # (k, pairs, d)
        gain = (gains[0] + gains[1]) / 2
        values.append(gain.mean(1))
        errors.append(gain.std(1) / math.sqrt(pairs))
    return Sampled(torch.cat(values), torch.cat(errors))


def _evaluated(function, rows, batch_size):
    """Return f of many rows, (k, d) -> (k,), some at a time."""
    answers = []
    for part in rows.split(batch_size):
        answer = function(part)
        if answer.shape != (len(part),):
            wanted, found = (len(part),), tuple(answer.shape)
            raise ValueError(
                f"the function gives {found}, it must give {wanted}; choose one output, such as f(x)[:, 0]"
            )
        answers.append(answer)
    answer = torch.cat(answers)
    if not torch.isfinite(answer).all():
        raise ValueError("the function is not finite for some mixtures of events: bound it, or restrict its inputs")
    return answer


def _check_events(x, background):
    if x.ndim != 2 or background.ndim != 2 or x.shape[1] != background.shape[1] or not len(x) or not len(background):
        raise ValueError(f"x and background are (n, d) and (m, d), not {tuple(x.shape)} and {tuple(background.shape)}")
    for name, events in (("x", x), ("background", background)):
        if not torch.isfinite(events).all():
            bad = int((~torch.isfinite(events)).any(1).sum())
            raise ValueError(f"{bad} of {len(events)} rows of {name} hold NaN or infinity: leave these events out")


def _check_covariance(covariance, d):
    if covariance.shape != (d, d):
        raise ValueError(f"the covariance of {d} inputs is ({d}, {d}), not {tuple(covariance.shape)}")
    scale = covariance.abs().max()
    if not torch.isfinite(scale) or not torch.allclose(covariance, covariance.T, atol=1e-5 * float(scale)):
        raise ValueError("a covariance is finite and symmetric; make it with background.T.cov()")
    if torch.linalg.eigvalsh(covariance).min() < -1e-5 * scale:
        raise ValueError("a covariance has no negative eigenvalue; make it with background.T.cov()")
