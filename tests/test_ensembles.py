"""A batched ensemble against single trainings with the same seeds, and its repulsion against closed forms."""

import math

import pytest
import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.calibration import split_uncertainty
from lhcml_tutor.ensembles import BatchedLinear, Ensemble, member_distance, member_rows, repulsion
from lhcml_tutor.layers import MLP, BayesianLinear, kl, posterior_samples
from lhcml_tutor.likelihoods import heteroscedastic_loss

MEMBERS, SEED = 4, 7
SETTINGS = {"steps": 40, "batch_size": 16, "learning_rate": 1e-2, "progress": False, "seed": 1}


def make():
    return MLP(3, 2, hidden=(8, 8)).double()


def sample(n=64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return x, x.square().cumsum(1)[:, :2] + 0.1 * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def single(m):
    torch.manual_seed(SEED + m)
    return make()


def mse(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean()


def sum_of_mse(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean(dim=(1, 2)).sum()


def test_members_are_the_single_networks():
    x, _ = sample()
    state = torch.get_rng_state()
    ensemble = Ensemble(make, MEMBERS, SEED)
    assert torch.equal(torch.get_rng_state(), state), "making an ensemble moves nobody else's random numbers"
    outputs = ensemble(x)
    assert outputs.shape == (MEMBERS, 64, 2)
    for m in range(MEMBERS):
        assert torch.allclose(outputs[m], single(m)(x), rtol=0, atol=1e-14)
        assert torch.equal(ensemble.member(m)(x), single(m)(x))
    own = torch.stack([x + m for m in range(MEMBERS)])
    assert torch.allclose(ensemble(own)[2], single(2)(x + 2), rtol=0, atol=1e-13)
    assert torch.allclose(ensemble.predict(x, batch_size=10), outputs, rtol=0, atol=1e-14)
    assert not ensemble.predict(x).requires_grad


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_training_with_fit_is_that_of_single_networks(weight_decay):
    """AdamW, the same batches for all.

    Planted and red: members that share one bias; the mean over members in place of the sum. AdamW divides a common
    factor out but for its eps, so that the second fault is small, and seen because the tolerance is 1e-10.
    """
    x, y = sample()
    ensemble = Ensemble(make, MEMBERS, SEED)
    lt.fit(ensemble, sum_of_mse, {"x": x, "y": y}, clip=None, weight_decay=weight_decay, **SETTINGS)
    for m in range(MEMBERS):
        network = single(m)
        lt.fit(network, mse, {"x": x, "y": y}, clip=None, weight_decay=weight_decay, **SETTINGS)
        assert torch.allclose(ensemble.predict(x)[m], network(x), rtol=0, atol=1e-10)


def test_training_with_plain_gradient_descent_is_that_of_single_networks():
    """Planted and red: the mean over members in place of the sum."""
    x, y = sample()

    def descend(model, loss):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
        for _ in range(40):
            optimizer.zero_grad()
            loss(model, {"x": x, "y": y}).backward()
            optimizer.step()
        return model

    ensemble = descend(Ensemble(make, MEMBERS, SEED), sum_of_mse)
    for m in range(MEMBERS):
        assert torch.allclose(ensemble(x)[m], descend(single(m), mse)(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("bootstrap", [False, True])
def test_members_with_rows_of_their_own_train_as_single_networks_on_those_rows(bootstrap):
    x, y = sample()
    rows = member_rows(len(x), MEMBERS, seed=3, bootstrap=bootstrap)

    def loss(model, batch):
        row = batch["row"].T  # (members, batch)
        return (model(x[row]) - y[row]).square().mean(dim=(1, 2)).sum()

    ensemble = Ensemble(make, MEMBERS, SEED)
    lt.fit(ensemble, loss, {"row": rows}, clip=None, **SETTINGS)
    for m in range(MEMBERS):
        network = single(m)
        own = {"x": x[rows[:, m]], "y": y[rows[:, m]]}
        lt.fit(network, mse, own, clip=None, **SETTINGS)
        assert torch.allclose(ensemble.predict(x)[m], network(x), rtol=0, atol=1e-10)


def test_clipping_mixes_members_as_the_documentation_says():
    """The control of the equality above: with clip the members are no longer what they are alone."""
    x, y = sample()
    ensemble = Ensemble(make, MEMBERS, SEED)
    lt.fit(ensemble, sum_of_mse, {"x": x, "y": 10 * y}, clip=0.1, **SETTINGS)
    network = single(0)
    lt.fit(network, mse, {"x": x, "y": 10 * y}, clip=0.1, **SETTINGS)
    assert (ensemble.predict(x)[0] - network(x)).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["ensemble", "Bayesian"])
def test_both_kinds_of_network_find_the_noise_and_the_ensemble_knows_where_it_has_no_data(kind):
    """Noise of 0.3 on a sine, trained on |x| < 1: the members of an ensemble disagree outside, at |x| = 2.

    A Bayesian network is not asked for that: over seeds it does so or not.

    Planted and red: deviations of 1.5 times their size in the loss.
    """
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.rand(800, 1, generator=generator) - 1
    y = torch.sin(3 * x) + 0.3 * torch.randn(800, 1, generator=generator)

    def loss(model, batch):
        prediction, log_sigma = model(batch["x"]).chunk(2, dim=-1)
        mean = heteroscedastic_loss(prediction, log_sigma, batch["y"]).mean(dim=(-2, -1)).sum()
        return mean if kind == "ensemble" else mean + kl(model) / len(x)

    torch.manual_seed(1)
    if kind == "ensemble":
        model = Ensemble(lambda: MLP(1, 2, hidden=(16, 16)), members=6)
    else:
        model = MLP(1, 2, hidden=(16, 16), linear=BayesianLinear)
    lt.fit(model, loss, {"x": x, "y": y}, steps=600, batch_size=200, learning_rate=1e-2, clip=None, progress=False)
    at = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])[:, None]
    outputs = model.predict(at) if kind == "ensemble" else posterior_samples(model, at, samples=60)
    predictions, log_sigmas = outputs.chunk(2, dim=-1)
    split = split_uncertainty(predictions, log_sigmas.exp())
    assert split.systematic[1:4].numpy() == pytest.approx(0.3, rel=0.25)
    assert split.statistical[1:4].max() < 0.2
    assert (split.prediction[1:4, None] - torch.sin(3 * at[1:4])).abs().max() < 0.2
    if kind == "ensemble":
        assert split.statistical[[0, 4]].min() > 4 * split.statistical[1:4].max()


def test_rows_are_permutations_or_draws():
    n = 2000
    rows = member_rows(n, 5)
    assert torch.equal(rows.sort(dim=0).values, torch.arange(n)[:, None].expand(n, 5))
    assert len({tuple(column[:10].tolist()) for column in rows.T}) == 5
    drawn = member_rows(n, 5, bootstrap=True)
    for column in drawn.T:
        assert len(column.unique()) / n == pytest.approx(1 - math.exp(-1), abs=0.03)
    assert torch.equal(drawn, member_rows(n, 5, bootstrap=True))
    assert not torch.equal(drawn, member_rows(n, 5, seed=2, bootstrap=True))


def test_a_sequential_without_bias_is_an_ensemble_and_is_saved_and_loaded():
    def network():
        return nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 1))

    first, second = Ensemble(network, 3, seed=1), Ensemble(network, 3, seed=50)
    x = torch.randn(6, 3)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
    assert torch.allclose(first.member(1)(x), first(x)[1], atol=1e-6)


def test_distance_is_the_root_mean_square_and_exact_for_members_that_nearly_agree():
    """Planted and red: a distance from |f|^2 - 2 f g + |g|^2, which is wrong in the first digit here."""
    outputs = torch.randn(5, 20, 2, generator=torch.Generator().manual_seed(1))
    differences = outputs[:, None] - outputs[None]
    assert torch.allclose(member_distance(outputs), differences.square().mean(dim=(2, 3)).sqrt(), atol=1e-6)
    near = 1000 + torch.arange(40.0)[:, None, None].expand(40, 30, 1) * 2**-10
    assert member_distance(near)[0, 1].item() == pytest.approx(2**-10, rel=1e-3)


@pytest.mark.parametrize("bandwidth", [0.7, None])
def test_gradient_of_the_repulsion_is_the_sum_over_kernels(bandwidth):
    """The term of the update rule, sum_j grad k(f_i, f_j) / sum_j k(f_i, f_j), by hand with loops.

    Planted and red: gradient through f_j as well, which doubles it; the kernel's factor 2 dropped.
    """
    outputs = torch.randn(4, 6, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    points = outputs.squeeze(-1)
    squares = [[float((a - b).square().mean()) for b in points] for a in points]
    apart = sorted(squares[i][j] for i in range(4) for j in range(4) if i != j)
    variance = bandwidth**2 if bandwidth else apart[5] / (2 * math.log(5))  # lower median of twelve
    by_hand = torch.zeros_like(points)
    for i in range(4):
        kernels = [math.exp(-square / (2 * variance)) for square in squares[i]]
        for j in range(4):
            by_hand[i] -= kernels[j] / sum(kernels) * (points[i] - points[j]) / (6 * variance)
    leaf = outputs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(repulsion(leaf, bandwidth), leaf)
    assert torch.allclose(gradient.squeeze(-1), by_hand, atol=1e-12)


def test_repulsion_is_zero_where_all_agree_and_falls_as_members_move_apart():
    together = torch.ones(5, 10, 1, requires_grad=True)
    for bandwidth in (1.0, None):
        value = repulsion(together, bandwidth)
        (gradient,) = torch.autograd.grad(value, together)
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert gradient.abs().max() == 0
    apart = torch.arange(5.0)[:, None, None].expand(5, 10, 1)
    assert repulsion(apart, 1.0) < repulsion(0.1 * apart, 1.0) < 0
    assert repulsion(1000 * apart, 1.0).item() == pytest.approx(-5 * math.log(5))


@pytest.mark.parametrize(("beta", "bandwidth"), [(1.0, 0.4), (1.0, 0.8), (2.0, 0.8)])
def test_repulsive_members_settle_at_the_posterior_smeared_back_by_the_kernel(beta, bandwidth):
    """One number f with a Gaussian posterior of width s: kernels of width h around the members must add up to it.

        variance of the members + h^2 = beta s^2

    Planted and red: without repulsion all members sit at the mean; the other sign; the gradient through f_j.
    """
    events, noise = 25, 5.0  # a mean of 25 events is known to s = 1
    truth = 3 + noise * torch.randn(events, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    members = torch.randn(200, 1, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.SGD([members], lr=10.0)
    for _ in range(250):
        loss = ((truth - members) / noise).square().mean(dim=(1, 2)).sum() / 2
        loss = loss + beta / events * repulsion(members, bandwidth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = members.detach().flatten()
    assert found.mean().item() == pytest.approx(truth.mean().item(), abs=0.02)
    assert (found.var() + bandwidth**2).item() == pytest.approx(beta, rel=0.05)
    assert found.var() > 0.15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Ensemble(make, 0), "members counts networks"),
        (lambda: Ensemble(lambda: nn.Linear(3, 1)), "an MLP or nn.Sequential, not Linear"),
        (lambda: Ensemble(lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))), "not BatchNorm1d"),
        (lambda: Ensemble(lambda: MLP(3, 1, linear=BayesianLinear)), "not BayesianLinear"),
        (lambda: Ensemble(make, 4)(torch.zeros(5, 2, 3)), r"\(4, n, features\)"),
        (lambda: BatchedLinear([nn.Linear(3, 2), nn.Linear(3, 1)]), "of one shape"),
        (lambda: member_rows(10, 0), "members must be a positive integer"),
        (lambda: member_distance(torch.zeros(5, 3)), "members, n, outputs"),
        (lambda: repulsion(torch.zeros(1, 3, 1)), "two members or more"),
        (lambda: repulsion(torch.zeros(2, 3, 1), bandwidth=0.0), "positive number"),
    ],
)
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
