"""Likelihoods against torch's own, torch.distributions and numerical integrals."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from lhcml_tutor import likelihoods
from lhcml_tutor.likelihoods import Evidence, evidence


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_evidence(n=6):
    return Evidence(random(n, 1), *(random(n, 1, seed=seed).exp() + (seed == 3) for seed in (2, 3, 4)))


def test_heteroscedastic_loss_is_that_of_torch():
    """Planted and red: log sigma with a factor 2, the square of sigma forgotten."""
    prediction, log_sigma, truth = random(3, 50, 1)
    loss = likelihoods.heteroscedastic_loss(prediction, log_sigma, truth)
    reference = torch.nn.GaussianNLLLoss(reduction="none")(prediction, truth, (2 * log_sigma).exp())
    assert torch.allclose(loss, reference, rtol=1e-12)


def test_gaussian_is_that_of_torch_distributions():
    prediction, log_sigma, truth = random(3, 50, 1)
    normal = torch.distributions.Normal(prediction, log_sigma.exp())
    assert torch.allclose(likelihoods.gaussian_log_prob(prediction, log_sigma, truth), normal.log_prob(truth))
    assert torch.allclose(likelihoods.gaussian_cdf(prediction, log_sigma, truth), normal.cdf(truth))


def test_the_best_sigma_is_the_spread_of_the_truth():
    truth = 3 + 2 * random(5000)
    log_sigma = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    spread = (truth - 3).square().mean().sqrt().log()
    for at, sign in ((spread, 0), (spread + 0.1, 1), (spread - 0.1, -1)):
        loss = likelihoods.heteroscedastic_loss(torch.full_like(truth, 3), (log_sigma + at).expand(5000), truth).mean()
        (slope,) = torch.autograd.grad(loss, log_sigma)
        assert torch.sign(slope.round(decimals=9)).item() == sign


def test_mixture_is_that_of_torch_distributions():
    """Planted and red: weights not normalised; log_sigmas left out; components added as logarithms."""
    logits, means, log_sigmas = random(3, 40, 4)
    truth = random(40, 1, seed=2)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits), torch.distributions.Normal(means, log_sigmas.exp())
    )
    found = likelihoods.mixture_log_prob(logits, means, log_sigmas, truth)
    assert found.shape == (40, 1)
    assert torch.allclose(found[:, 0], mixture.log_prob(truth[:, 0]))
    below = likelihoods.mixture_cdf(logits, means, log_sigmas, truth)
    assert torch.allclose(below[:, 0], mixture.cdf(truth[:, 0]))


def test_a_mixture_of_one_or_of_equal_components_is_a_gaussian():
    prediction, log_sigma, truth = random(3, 20, 1)
    exact = likelihoods.gaussian_log_prob(prediction, log_sigma, truth)
    for k in (1, 3):
        parts = (random(20, k, seed=5), prediction.expand(20, k), log_sigma.expand(20, k))
        assert torch.allclose(likelihoods.mixture_log_prob(*parts, truth), exact)


def test_far_from_every_component_a_mixture_keeps_its_value_and_gradient():
    means = torch.zeros(1, 2, requires_grad=True)
    value = likelihoods.mixture_log_prob(torch.zeros(1, 2), means, torch.zeros(1, 2), torch.full((1, 1), 100.0))
    value.sum().backward()
    assert value.item() == pytest.approx(-5000.92, abs=0.01)  # the density itself is 0 in float32
    assert means.grad.sum().item() == pytest.approx(100, rel=1e-3)


def test_evidential_density_is_the_students_t_of_torch():
    """Planted and red: alpha in place of 2 alpha degrees of freedom; (1 + nu) / nu turned over."""
    parameters, truth = some_evidence(), random(6, 1, seed=7)
    gamma, nu, alpha, beta = parameters
    t = torch.distributions.StudentT(2 * alpha, gamma, (beta * (1 + nu) / (nu * alpha)).sqrt())
    found = likelihoods.evidential_log_prob(parameters, truth)
    assert torch.allclose(found, t.log_prob(truth))
    systematic, statistical = likelihoods.evidential_sigmas(parameters)
    assert torch.allclose(systematic**2 + statistical**2, t.variance)


def test_evidential_density_is_the_integral_over_mean_and_variance():
    gamma, nu, alpha, beta, truth = 0.3, 0.8, 2.5, 1.2, 1.7
    log_variance, mean = np.linspace(-7, 9, 600)[:, None], np.linspace(-60, 60, 3001)[None, :]
    variance = np.exp(log_variance)
    likelihood = stats.norm.pdf(truth, mean, np.sqrt(variance))
    prior = stats.norm.pdf(mean, gamma, np.sqrt(variance / nu)) * stats.invgamma.pdf(variance, alpha, scale=beta)
    exact = integrate.trapezoid(integrate.trapezoid(likelihood * prior * variance, mean[0]), log_variance[:, 0])
    parameters = Evidence(*(torch.tensor([[value]], dtype=torch.float64) for value in (gamma, nu, alpha, beta)))
    found = likelihoods.evidential_log_prob(parameters, torch.tensor([[truth]], dtype=torch.float64))
    assert found.exp().item() == pytest.approx(exact, rel=1e-4)


def test_evidential_sigmas_are_moments_of_the_prior_by_draws():
    gamma, nu, alpha, beta = 0.3, 0.8, 4.5, 1.2
    variance = stats.invgamma(alpha, scale=beta).rvs(200_000, random_state=1)
    mean = stats.norm(gamma, (variance / nu) ** 0.5).rvs(random_state=2)
    parameters = Evidence(*(torch.tensor([value]) for value in (gamma, nu, alpha, beta)))
    systematic, statistical = likelihoods.evidential_sigmas(parameters)
    assert systematic.item() ** 2 == pytest.approx(variance.mean(), rel=0.01)
    assert statistical.item() ** 2 == pytest.approx(mean.var(), rel=0.02)


def test_evidential_cdf_is_the_integral_of_its_density():
    parameters = some_evidence(1)
    points = torch.linspace(-400, 1.5, 400_001, dtype=torch.float64)[:, None]
    wide = Evidence(*(part.expand(len(points), 1) for part in parameters))
    below = torch.trapezoid(likelihoods.evidential_log_prob(wide, points).exp()[:, 0], points[:, 0])
    found = likelihoods.evidential_cdf(parameters, torch.tensor([[1.5]], dtype=torch.float64))
    assert found.item() == pytest.approx(below.item(), abs=1e-4)


def test_evidential_loss_is_the_likelihood_and_a_price_for_evidence_of_errors():
    parameters, truth = some_evidence(), random(6, 1, seed=7)
    plain = likelihoods.evidential_loss(parameters, truth, strength=0.0)
    assert torch.equal(plain, -likelihoods.evidential_log_prob(parameters, truth))
    priced = likelihoods.evidential_loss(parameters, truth, strength=0.5)
    price = 0.5 * (truth - parameters.gamma).abs() * (2 * parameters.nu + parameters.alpha)
    assert torch.allclose(priced - plain, price)
    at_the_truth = parameters._replace(gamma=truth)
    assert torch.equal(
        likelihoods.evidential_loss(at_the_truth, truth, 0.5), likelihoods.evidential_loss(at_the_truth, truth, 0.0)
    )


def test_the_likelihood_alone_does_not_know_how_the_evidential_variance_splits():
    gamma, nu, alpha, beta = some_evidence()
    other = Evidence(gamma, 3 * nu, alpha, beta * (1 + nu) / nu * 3 * nu / (1 + 3 * nu))
    truth = random(6, 1, seed=7)
    first, second = (likelihoods.evidential_log_prob(x, truth) for x in (Evidence(gamma, nu, alpha, beta), other))
    assert torch.allclose(first, second)
    shares = [likelihoods.evidential_sigmas(x)[1] for x in (Evidence(gamma, nu, alpha, beta), other)]
    assert (shares[0] / shares[1] > 1.1).all()


def test_outputs_of_a_network_become_allowed_parameters():
    gamma, nu, alpha, beta = evidence(10 * random(1000, 4))
    assert (nu > 0).all() and (alpha > 1).all() and (beta > 0).all() and (gamma < 0).any()


def test_members_have_a_leading_axis_and_are_evaluated_one_by_one():
    prediction, log_sigma = random(2, 3, 10, 1)
    truth = random(10, 1, seed=2)
    together = likelihoods.heteroscedastic_loss(prediction, log_sigma, truth)
    assert torch.equal(together[2], likelihoods.heteroscedastic_loss(prediction[2], log_sigma[2], truth))
    parts = random(3, 3, 10, 2, seed=3)
    together = likelihoods.mixture_log_prob(*parts, truth)
    assert torch.equal(together[2], likelihoods.mixture_log_prob(*parts[:, 2], truth))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: likelihoods.heteroscedastic_loss(*torch.zeros(2, 5, 1), torch.zeros(5)), r"squeeze\(-1\)"),
        (lambda: likelihoods.heteroscedastic_loss(*torch.zeros(2, 5), torch.zeros(5, 1)), r"squeeze\(-1\)"),
        (lambda: likelihoods.gaussian_log_prob(torch.zeros(5, 1), torch.zeros(1), torch.zeros(5, 1)), "do not fit"),
        (lambda: likelihoods.gaussian_cdf(*torch.zeros(2, 5), torch.zeros(4)), "do not fit"),
        (lambda: likelihoods.mixture_log_prob(*torch.zeros(3, 5, 2), torch.zeros(5)), r"truth\[:, None\]"),
        (lambda: likelihoods.mixture_log_prob(*torch.zeros(3, 5, 2), torch.zeros(5, 2)), r"must be \(n, 1\)"),
        (
            lambda: likelihoods.mixture_cdf(torch.zeros(5, 2), *torch.zeros(2, 5, 1), torch.zeros(5, 1)),
            r"one shape \(n, K\)",
        ),
        (lambda: evidence(torch.zeros(5, 3)), "needs 4 outputs"),
        (lambda: likelihoods.evidential_loss(evidence(torch.zeros(5, 4)), torch.zeros(5)), "do not fit"),
        (lambda: likelihoods.evidential_cdf(evidence(torch.zeros(5, 4)), torch.zeros(5)), "do not fit"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
