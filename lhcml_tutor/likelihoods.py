"""Likelihoods whose width is learned: one Gaussian, a mixture of Gaussians, and evidential regression.

Each takes what a network says about an event and the truth, and returns one number per event: the logarithm of the
density at the truth, with its gradient; the probability below the truth (`..._cdf`); or a loss.
A loss for training is a mean of them, `heteroscedastic_loss(...).mean()`; an ensemble, whose outputs have a leading
axis of members, takes the mean over events and the sum over members, `.mean(dim=(1, 2)).sum()`.
"""

import math
from typing import NamedTuple

import torch
from scipy.special import stdtr
from torch.nn.functional import softplus

LOG_SQRT_2_PI = 0.5 * math.log(2 * math.pi)


def heteroscedastic_loss(prediction, log_sigma, truth):
    """Negative log-likelihood of a Gaussian of learned width, without its constant log(2 pi) / 2.

        L = (f - f_theta)^2 / (2 sigma^2) + log sigma

    Its minimum over sigma at fixed f_theta is sigma^2 = <(f - f_theta)^2>.

    Arguments:
        prediction: f_theta.
        log_sigma: logarithm of sigma; any number is allowed.
        truth: f.
    Shapes:
        prediction, log_sigma (n, 1) or (members, n, 1), truth (n, 1) -> like prediction; (n,) for all works as well
    Raises:
        ValueError: shapes that would mix events, such as (n, 1) and (n,).
    Example:
        >>> prediction, log_sigma, truth = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0])
        >>> heteroscedastic_loss(prediction, log_sigma, truth)
        tensor([0.5000, 1.0000])

    Reference: Nix and Weigend 1994; for amplitudes Bahl et al. 2024, arXiv:2412.12069.
    """
    _check_shapes(truth, prediction=prediction, log_sigma=log_sigma)
    return 0.5 * ((truth - prediction) * (-log_sigma).exp()).square() + log_sigma


def gaussian_log_prob(prediction, log_sigma, truth):
    """Logarithm of a Gaussian density at the truth, with all constants, in nats.

        log N(f | f_theta, sigma) = - (f - f_theta)^2 / (2 sigma^2) - log sigma - log(2 pi) / 2

    Shapes:
        prediction, log_sigma (n, 1) or (members, n, 1), truth (n, 1) -> like prediction; (n,) for all works as well
    Raises:
        ValueError: shapes that would mix events.
    Example:
        >>> gaussian_log_prob(torch.zeros(1), torch.zeros(1), torch.zeros(1))
        tensor([-0.9189])
    """
    return -heteroscedastic_loss(prediction, log_sigma, truth) - LOG_SQRT_2_PI


def gaussian_cdf(prediction, log_sigma, truth):
    """Probability below the truth that a Gaussian gives, u = Phi((f - f_theta) / sigma).

    Shapes:
        prediction, log_sigma (n, 1) or (members, n, 1), truth (n, 1) -> like prediction; (n,) for all works as well
    Raises:
        ValueError: shapes that would mix events.
    Example:
        >>> gaussian_cdf(torch.zeros(1), torch.zeros(1), torch.ones(1))
        tensor([0.8413])
    """
    _check_shapes(truth, prediction=prediction, log_sigma=log_sigma)
    return torch.special.ndtr((truth - prediction) * (-log_sigma).exp())


def mixture_log_prob(logits, means, log_sigmas, truth):
    """Logarithm of the density of a mixture of K Gaussians at the truth, in nats; the loss is minus its mean.

        log p(f) = log sum_k softmax(logits)_k N(f | mean_k, sigma_k)

    Arguments:
        logits: of the weights of the components; equal ones mean equal weights.
        means, log_sigmas: of the components.
    Shapes:
        logits, means, log_sigmas (n, K) or (members, n, K), truth (n, 1) -> (n, 1) or (members, n, 1)
    Raises:
        ValueError: the three differ in shape, or the truth is not (n, 1).
    Example:
        >>> logits, means, log_sigmas = torch.randn(5, 3 * 2).chunk(3, dim=-1)         # a network with 3 K outputs
        >>> mixture_log_prob(logits, means, log_sigmas, truth=torch.zeros(5, 1)).shape
        torch.Size([5, 1])

    Reference: Bishop 1994 (mixture density networks).
    """
    _check_mixture(logits, means, log_sigmas, truth)
    components = -0.5 * ((truth - means) * (-log_sigmas).exp()).square() - log_sigmas - LOG_SQRT_2_PI  # (n, K)
    return (logits.log_softmax(dim=-1) + components).logsumexp(dim=-1, keepdim=True)  # (n, 1)


def mixture_cdf(logits, means, log_sigmas, truth):
    """Probability below the truth that a mixture of Gaussians gives, u = sum_k softmax(logits)_k Phi_k.

    Members of an ensemble that each predict a mean and a sigma are a mixture with equal logits.

    Shapes:
        logits, means, log_sigmas (n, K) or (members, n, K), truth (n, 1) -> (n, 1) or (members, n, 1)
    Raises:
        ValueError: the three differ in shape, or the truth is not (n, 1).
    Example:
        >>> mixture_cdf(torch.zeros(1, 2), torch.tensor([[-1.0, 1.0]]), torch.zeros(1, 2), torch.zeros(1, 1))
        tensor([[0.5000]])
    """
    _check_mixture(logits, means, log_sigmas, truth)
    below = torch.special.ndtr((truth - means) * (-log_sigmas).exp())  # (n, K)
    return (logits.softmax(dim=-1) * below).sum(dim=-1, keepdim=True).clamp(max=1)  # the weights may add to 1 + 1e-7


class Evidence(NamedTuple):
    """Parameters of the Normal-inverse-gamma distribution of mean and variance, one set per event.

        mean ~ N(gamma, sigma^2 / nu),      sigma^2 ~ inverse gamma(alpha, beta)

    The mean is gamma; nu > 0 and alpha > 1 count virtual events behind the mean and behind the variance.
    """

    gamma: torch.Tensor
    nu: torch.Tensor
    alpha: torch.Tensor
    beta: torch.Tensor


def evidence(outputs):
    """Turn four outputs of a network into the parameters of evidential regression.

        gamma = o_1,   nu = softplus(o_2),   alpha = 1 + softplus(o_3),   beta = softplus(o_4)

    Shapes:
        outputs (n, 4) -> Evidence of four tensors (n, 1)
    Raises:
        ValueError: the last axis is not 4.
    Example:
        >>> evidence(torch.zeros(1, 4)).alpha
        tensor([[1.6931]])

    Reference: Amini et al. 2019, arXiv:1910.02600.
    """
    if outputs.shape[-1] != 4:
        raise ValueError(f"evidential regression needs 4 outputs, (gamma, nu, alpha, beta), not {outputs.shape[-1]}")
    gamma, nu, alpha, beta = outputs.split(1, dim=-1)
    return Evidence(gamma, softplus(nu), 1 + softplus(alpha), softplus(beta))


def evidential_log_prob(evidence, truth):
    """Logarithm of the evidential density at the truth: mean and variance integrated out leave a Student-t, in nats.

        p(f) = int N(f | mean, sigma) NIG(mean, sigma^2 | gamma, nu, alpha, beta) dmean dsigma^2
             = t(f | gamma, scale^2 = beta (1 + nu) / (nu alpha), 2 alpha degrees of freedom)

    Shapes:
        evidence of four (n, 1) or (members, n, 1), truth (n, 1) -> like evidence
    Raises:
        ValueError: shapes that would mix events.
    Example:
        >>> evidential_log_prob(evidence(torch.zeros(1, 4)), torch.zeros(1, 1))
        tensor([[-0.9918]])

    Reference: Amini et al. 2019, arXiv:1910.02600.
    """
    _check_shapes(truth, **evidence._asdict())
    gamma, nu, alpha, beta = evidence
    omega = 2 * beta * (1 + nu)
    normalisation = torch.lgamma(alpha + 0.5) - torch.lgamma(alpha) + 0.5 * (nu / math.pi).log()
    return normalisation - 0.5 * omega.log() - (alpha + 0.5) * torch.log1p(nu * (truth - gamma).square() / omega)


def evidential_cdf(evidence, truth):
    """Probability below the truth that evidential regression gives, of its Student-t; on the CPU, without gradient.

    Shapes:
        evidence of four (n, 1) or (members, n, 1), truth (n, 1) -> like evidence, float64
    Raises:
        ValueError: shapes that would mix events.
    Example:
        >>> evidential_cdf(evidence(torch.zeros(1, 4)), torch.zeros(1, 1))
        tensor([[0.5000]], dtype=torch.float64)
    """
    _check_shapes(truth, **evidence._asdict())
    gamma, nu, alpha, beta = (part.detach().to("cpu", torch.float64) for part in evidence)
    pull = (truth.to("cpu", torch.float64) - gamma) / (beta * (1 + nu) / (nu * alpha)).sqrt()
    return torch.as_tensor(stdtr(2 * alpha.numpy(), pull.numpy()))


def evidential_loss(evidence, truth, strength=0.01):
    """Loss of evidential regression: minus the log-likelihood, and a price for evidence where the prediction is wrong.

        L = - log p(f) + strength |f - gamma| (2 nu + alpha)

    The likelihood alone cannot tell the two uncertainties apart: it depends on nu and beta through beta (1 + nu) / nu.

    Arguments:
        strength: of the second term; it is a choice, and the statistical uncertainty depends on it.
    Shapes:
        evidence of four (n, 1) or (members, n, 1), truth (n, 1) -> like evidence
    Raises:
        ValueError: shapes that would mix events.
    Example:
        >>> evidential_loss(evidence(torch.zeros(1, 4)), torch.zeros(1, 1))
        tensor([[0.9918]])

    Reference: Amini et al. 2019, arXiv:1910.02600; that the split is not identified: Meinert et al. 2022,
    arXiv:2205.10060.
    """
    price = (truth - evidence.gamma).abs() * (2 * evidence.nu + evidence.alpha)
    return -evidential_log_prob(evidence, truth) + strength * price


def evidential_sigmas(evidence):
    """Systematic and statistical standard deviation of evidential regression.

        sigma_syst^2 = E[sigma^2] = beta / (alpha - 1),      sigma_stat^2 = Var[mean] = beta / (nu (alpha - 1))

    Shapes:
        evidence of four (n, 1) -> sigma_syst (n, 1), sigma_stat (n, 1)
    Example:
        >>> systematic, statistical = evidential_sigmas(evidence(torch.zeros(1, 4)))
        >>> systematic, statistical
        (tensor([[1.]]), tensor([[1.2011]]))

    Reference: Amini et al. 2019, arXiv:1910.02600.
    """
    _, nu, alpha, beta = evidence
    systematic = (beta / (alpha - 1)).sqrt()
    return systematic, systematic / nu.sqrt()


def _check_mixture(logits, means, log_sigmas, truth):
    """Raise where the parts of a mixture of Gaussians do not fit together."""
    shape = tuple(logits.shape)
    if tuple(means.shape) != shape or tuple(log_sigmas.shape) != shape:
        raise ValueError(
            f"logits {shape}, means {tuple(means.shape)} and log_sigmas {tuple(log_sigmas.shape)} of a mixture have "
            "one shape (n, K); the three are outputs.chunk(3, dim=-1)"
        )
    if truth.ndim < 2 or truth.shape[-1] != 1 or shape[-truth.ndim : -1] != tuple(truth.shape[:-1]):
        raise ValueError(f"truth {tuple(truth.shape)} must be (n, 1) for a mixture {shape}; truth[:, None] makes it so")


def _check_shapes(truth, **parts):
    """Raise where parts differ in shape, or where the truth would be broadcast over anything but members."""
    shapes = {name: tuple(part.shape) for name, part in parts.items()}
    wanted = tuple(truth.shape)
    if len(set(shapes.values())) > 1 or any(shape[len(shape) - len(wanted) :] != wanted for shape in shapes.values()):
        shown = ", ".join(f"{name} {shape}" for name, shape in {**shapes, "truth": wanted}.items())
        raise ValueError(f"shapes do not fit: {shown}; between (n,) and (n, 1) use .squeeze(-1) or [:, None]")
