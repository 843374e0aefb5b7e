"""Flow matching against a Gaussian, whose velocity, density and trajectories are known by formula."""

import math

import pytest
import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.bijections import Compose, LogShift, Standardise
from lhcml_tutor.flow_matching import (
    FlowMatching,
    TimeNetwork,
    exact_divergence,
    flow_matching_loss,
    hutchinson_divergence,
    integrate,
    integrate_with_divergence,
    linear_path,
    solve_adaptive,
    time_features,
)
from lhcml_tutor.layers import BayesianLinear, fixed_weights

MEAN, WIDTH = torch.tensor([1.5, -0.5], dtype=torch.float64), torch.tensor([0.3, 2.0], dtype=torch.float64)


def gaussian_velocity(x, t):
    """E[x_1 - x_0 | x_t] for x_0 ~ N(0, 1), x_1 ~ N(m, s^2): x_t and x_1 - x_0 are jointly Gaussian."""
    variance = (1 - t) ** 2 + t**2 * WIDTH**2
    return MEAN + (t * WIDTH**2 - (1 - t)) / variance * (x - t * MEAN)


def gaussian_flow(x_0, t):
    """The solution: the standardised place in the Gaussian of each time stays the same."""
    return t * MEAN + ((1 - t) ** 2 + t**2 * WIDTH**2).sqrt() * x_0


class ExactFlow(FlowMatching):
    """The model with the formula in place of the network; two parameters remain, which say its type."""

    def velocity(self, x, t, condition=None):
        return gaussian_velocity(x, t)


def exact_model(**settings):
    return ExactFlow(2, hidden=(1,), **settings).double()


def numbers(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def network(d=3, **settings):
    """An untrained network with weights so large that its field is far from linear."""
    torch.manual_seed(3)
    model = FlowMatching(d, hidden=(16, 16), **settings).double()
    for weight in model.network.mlp.parameters():
        nn.init.normal_(weight, std=0.6)
    return model


def test_the_marginal_velocity_of_a_gaussian_is_the_mean_of_its_paths():
    n, t = 400_000, 0.6
    x_0, x_1 = numbers(n, 2), MEAN + WIDTH * numbers(n, 2, seed=2)
    x_t, target = linear_path(x_0, x_1, t)
    torch.testing.assert_close(x_t, (1 - t) * x_0 + t * x_1)
    residual = target - gaussian_velocity(x_t, t)  # its mean given x_t is zero, so it is uncorrelated with any f(x_t)
    for f in (torch.ones_like(x_t), x_t, x_t**2, torch.tanh(x_t)):
        terms = residual * f
        assert (terms.mean(0).abs() < 5 * terms.std(0) / math.sqrt(n)).all()


@pytest.mark.parametrize(("method", "order", "steps"), [("euler", 1, 200), ("midpoint", 2, 100), ("rk4", 4, 40)])
def test_errors_fall_with_the_order_of_the_method(method, order, steps):
    def curved(x, t):
        return torch.sin(2 * x) + math.cos(3 * t)

    starts = {gaussian_velocity: numbers(50, 2), curved: numbers(50, 2)}
    for velocity, x_0 in starts.items():
        exact = gaussian_flow(x_0, 1.0) if velocity is gaussian_velocity else solve_adaptive(velocity, x_0, 0.0, 1.0)
        errors = [(integrate(velocity, x_0, 0.0, 1.0, n, method) - exact).abs().max() for n in (steps, 2 * steps)]
        exponent = math.log2(errors[0] / errors[1])
        # a variance quadratic in t has no third derivative: on the Gaussian the midpoint is better than its order
        better = velocity is gaussian_velocity and method == "midpoint"
        assert abs(exponent - order - better) < 0.15, exponent


def test_the_adaptive_solver_agrees_with_runge_kutta():
    x_0, field = numbers(20, 3), network()
    adaptive = solve_adaptive(field.velocity, x_0, 0.0, 1.0)
    with torch.no_grad():
        torch.testing.assert_close(integrate(field.velocity, x_0, 0.0, 1.0, 200), adaptive, rtol=0, atol=1e-7)
    exact = gaussian_flow(x_0[:, :2], 1.0)
    torch.testing.assert_close(solve_adaptive(gaussian_velocity, x_0[:, :2], 0.0, 1.0), exact, rtol=0, atol=1e-8)


@torch.no_grad()
def test_there_and_back_again():
    x_0, model = numbers(50, 3), network()
    x_1 = model.transport(x_0, steps=200)
    assert (x_1 - x_0).abs().mean() > 0.1
    torch.testing.assert_close(model.transport(x_1, steps=200, t_0=1.0, t_1=0.0), x_0, rtol=0, atol=1e-8)


def test_the_divergence_is_the_trace_of_the_jacobian():
    x, model = numbers(7, 3), network(condition=2)
    condition = numbers(7, 2, seed=2)
    jacobian = torch.autograd.functional.jacobian(lambda y: model.velocity(y, 0.3, condition), x)  # (n, d, n, d)
    trace = torch.stack([jacobian[i, :, i].trace() for i in range(7)])
    found = exact_divergence(lambda y, t: model.velocity(y, t, condition), x, 0.3)
    torch.testing.assert_close(found, trace, rtol=1e-12, atol=1e-12)


def test_hutchinson_is_unbiased_with_the_variance_of_its_formula():
    x, model = numbers(4, 3), network()
    jacobian = torch.autograd.functional.jacobian(lambda y: model.velocity(y, 0.3), x)
    jacobian = torch.stack([jacobian[i, :, i] for i in range(4)])
    generator, probes = torch.Generator().manual_seed(1), 20_000
    exact = exact_divergence(model.velocity, x, 0.3)
    with torch.no_grad():
        estimate = hutchinson_divergence(model.velocity, x, 0.3, probes, generator)
        single = torch.stack([hutchinson_divergence(model.velocity, x, 0.3, 1, generator) for _ in range(3000)])
    variance = (jacobian + jacobian.mT).square().triu(1).sum((1, 2))
    assert ((estimate - exact).abs() < 5 * (variance / probes).sqrt()).all()
    assert (single.var(0) / variance - 1).abs().max() < 0.15
    assert (single - exact).abs().max() > 0.1  # one probe is noisy: the test above is not about nothing


def test_hutchinson_is_exact_in_the_mean_over_all_signs_of_a_linear_field():
    matrix = numbers(3, 3)
    x = numbers(8, 3, seed=2)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)  # all eight probes
    mean = torch.einsum("ki,ij,kj->k", signs, matrix, signs).mean()
    torch.testing.assert_close(exact_divergence(lambda y, t: y @ matrix.T, x, 0.0), mean.expand(8))
    diagonal = hutchinson_divergence(lambda y, t: y * matrix.diag(), x, 0.0)
    torch.testing.assert_close(diagonal, matrix.trace().expand(8))


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])  # the Jacobian is diagonal, so both are exact
def test_log_prob_of_a_gaussian(divergence):
    x = MEAN + WIDTH * numbers(100, 2)
    truth = torch.distributions.Normal(MEAN, WIDTH).log_prob(x).sum(1)
    model = exact_model()
    found = model.log_prob(x, steps=60, divergence=divergence, batch_size=33)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-6)
    # Negative controls: the divergence dropped, and its sign or the direction of time the wrong way round.
    z, integral = integrate_with_divergence(gaussian_velocity, x, 1.0, 0.0, 60)
    log_noise = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(log_noise + integral, found, rtol=0, atol=1e-12)
    forward = integrate_with_divergence(gaussian_velocity, x, 0.0, 1.0, 60)[0]
    wrong = torch.distributions.Normal(0.0, 1.0).log_prob(forward).sum(1) + integral
    for planted in (log_noise, log_noise - integral, wrong):
        assert (planted - truth).abs().median() > 0.1


def test_log_prob_in_units_of_the_events():
    x = torch.exp(MEAN + WIDTH * numbers(100, 2)) + 20  # GeV above a cut
    truth = torch.distributions.LogNormal(MEAN, WIDTH).log_prob(x - 20).sum(1)
    model = exact_model(preprocess=LogShift(20.0))
    torch.testing.assert_close(model.log_prob(x, steps=60), truth, rtol=0, atol=1e-6)
    assert (model.sample(1000, generator=torch.Generator().manual_seed(1)) > 20).all()
    x_t, t, target = model.path_batch(x, generator=torch.Generator().manual_seed(1))
    end = x_t + (1 - t)[:, None] * target  # the path goes on to the event in the space of the network
    torch.testing.assert_close(end, (x - 20).log())


def test_moments_of_samples():
    n = 100_000
    x = exact_model().sample(n, generator=torch.Generator().manual_seed(1), steps=20, batch_size=30_000)
    assert ((x.mean(0) - MEAN).abs() < 5 * WIDTH / math.sqrt(n)).all()
    assert ((x.std(0) / WIDTH - 1).abs() < 5 / math.sqrt(2 * n)).all()
    reversed_time = integrate(gaussian_velocity, numbers(n, 2), 1.0, 0.0, 20)
    assert ((reversed_time.std(0) / WIDTH - 1).abs() > 0.5).all()


def test_float32_is_enough():
    x = (MEAN + WIDTH * numbers(500, 2)).float()

    class Single(FlowMatching):
        def velocity(self, x, t, condition=None):
            return gaussian_velocity(x.double(), t).to(x)

    truth = torch.distributions.Normal(MEAN, WIDTH).log_prob(x.double()).sum(1)
    assert (Single(2, hidden=(1,)).log_prob(x, steps=40) - truth).abs().max() < 1e-4


@pytest.mark.parametrize("linear", [nn.Linear, BayesianLinear])
def test_gradients_reach_every_parameter(linear):
    model = FlowMatching(2, condition=1, hidden=(8, 8), linear=linear)
    flow_matching_loss(model, numbers(64, 2, dtype=torch.float32), torch.ones(64, 1)).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_gradients_of_log_prob_are_right_where_they_are_asked_for():
    model, x = network(d=2), numbers(3, 2)
    assert not model.log_prob(x, steps=4).requires_grad
    x.requires_grad_()
    value = model.log_prob(x, steps=4, gradients=True).sum()
    (slope,) = torch.autograd.grad(value, x, retain_graph=True)
    value.backward()
    assert all(weight.grad is not None for weight in model.network.mlp.parameters())
    step = torch.zeros_like(x)
    step[0, 1] = 1e-5
    up, down = (model.log_prob(x.detach() + sign * step, steps=4)[0] for sign in (1, -1))
    assert float(slope[0, 1]) == pytest.approx(float(up - down) / 2e-5, rel=1e-5)


def test_condition_matters_row_by_row():
    model = network(d=2, condition=1)
    x, c = numbers(6, 2), torch.tensor([0.0, 0.0, 0.0, 2.0, 2.0, 2.0], dtype=torch.float64)[:, None]
    both = model.log_prob(x, c, steps=5, batch_size=4)
    torch.testing.assert_close(both[:3], model.log_prob(x[:3], c[0], steps=5))
    torch.testing.assert_close(both[3:], model.log_prob(x[3:], c[5], steps=5))
    assert (both - model.log_prob(x, 1 - c, steps=5)).abs().min() > 1e-4
    samples = [model.sample(5, value, generator=torch.Generator().manual_seed(1)) for value in (c[:5], c[0], c[5])]
    torch.testing.assert_close(samples[0][:3], samples[1][:3])
    torch.testing.assert_close(samples[0][3:], samples[2][3:])


def test_a_bayesian_network_has_one_set_of_weights_for_a_whole_call():
    model = FlowMatching(2, hidden=(16, 16), linear=BayesianLinear)
    for layer in model.modules():
        if isinstance(layer, BayesianLinear):
            nn.init.constant_(layer.log_sigma_weight, -1.5)
    x = numbers(5, 2, dtype=torch.float32)
    with fixed_weights(model, torch.Generator().manual_seed(1)):
        there = model.transport(x, steps=100)
        back = model.transport(there, steps=100, t_0=1.0, t_1=0.0)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-4)
        assert torch.equal(model.log_prob(x), model.log_prob(x))
    torch.testing.assert_close(model.transport(x, steps=100, generator=torch.Generator().manual_seed(1)), there)
    twice = x[:1].expand(4, 2)
    assert torch.equal(model.transport(twice, batch_size=1), model.transport(twice, batch_size=1)) is False
    same = model.log_prob(twice, batch_size=1)
    assert same.std() == 0 and not torch.equal(same, model.log_prob(twice, batch_size=1))
    assert all(layer.fixed is None for layer in model.modules() if isinstance(layer, BayesianLinear))


def test_save_and_load(tmp_path):
    x = torch.rand(100, 2).mul(50).add(20)
    models = []
    for shift in (10.0, 0.0):
        log = LogShift(shift)
        standardise = Standardise.fit(log(x)[0]) if shift else Standardise(2)
        models.append(FlowMatching(2, hidden=(8,), preprocess=Compose(log, standardise)))
    torch.save(models[0].state_dict(), tmp_path / "model.pt")
    models[1].load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(models[0].log_prob(x, steps=3), models[1].log_prob(x, steps=3))


NAN = torch.full((3, 2), math.nan)
WRONG = {
    "shape": (lambda m, c: m.log_prob(torch.zeros(3, 5)), r"x must be a tensor of shape \(n, 2\), not \(3, 5\)"),
    "vector": (lambda m, c: m.transport(torch.zeros(2)), r"shape \(n, 2\), not \(2,\)"),
    "double": (lambda m, c: m.log_prob(torch.zeros(3, 2).double()), r"pass x.float\(\)"),
    "nan": (lambda m, c: m.log_prob(NAN), "x has 6 of 6 values that are NaN or inf"),
    "nan moved": (lambda m, c: m.transport(NAN), "NaN"),
    "nan trained": (lambda m, c: m.path_batch(NAN), "x_1 has 6 of 6"),
    "nan condition": (lambda m, c: c.sample(3, NAN[:, :1]), "condition has 3 of 3"),
    "no condition": (lambda m, c: c.sample(3), r"needs a condition of 1 features: \(n, 1\)"),
    "a condition": (lambda m, c: m.sample(3, torch.zeros(3, 1)), "takes none"),
    "rows": (lambda m, c: c.sample(3, torch.zeros(4, 1)), r"row by row, or \(1,\) for all rows, not \(4, 1\)"),
    "list": (lambda m, c: c.log_prob(torch.zeros(3, 2), [1.0]), "not list"),
    "n": (lambda m, c: m.sample(0), "n is how many"),
    "steps": (lambda m, c: m.sample(3, steps=0), "steps counts"),
    "method": (lambda m, c: m.sample(3, method="heun"), "euler, midpoint, rk4"),
    "divergence": (lambda m, c: m.log_prob(torch.zeros(3, 2), divergence="none"), "'exact' or 'hutchinson'"),
    "probes": (lambda m, c: m.log_prob(torch.zeros(3, 2), divergence="hutchinson", probes=0), "probes counts"),
    "partners": (lambda m, c: m.path_batch(torch.zeros(3, 2), torch.zeros(4, 2)), "one partner"),
    "made": (lambda m, c: FlowMatching(2, condition=-1), "condition is a number of inputs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_named(case):
    call, said = WRONG[case]
    with pytest.raises(ValueError, match=said):
        call(FlowMatching(2, hidden=(4,)), FlowMatching(2, condition=1, hidden=(4,)))


def test_time_features_and_their_absence():
    t = torch.tensor([0.0, 0.25])
    expected = torch.stack([t, (math.pi * t).cos(), (math.pi * t).sin(), (2 * math.pi * t).cos(),
                            (2 * math.pi * t).sin()], dim=1)  # fmt: skip
    torch.testing.assert_close(time_features(t, 2), expected)
    assert time_features(t, 0).tolist() == [[0.0], [0.25]]
    plain = TimeNetwork(2, hidden=(4,), frequencies=0)
    assert plain.mlp.layers[0].in_features == 3
    assert torch.equal(plain(torch.ones(2, 2), 0.5), plain(torch.ones(2, 2), torch.tensor([0.5, 0.5])))


def test_partners_are_carried_to_partners():
    """Direct diffusion: a shift of every event is learned as a straight path."""
    x_0 = numbers(4096, 2, dtype=torch.float32)
    model = FlowMatching(2, hidden=(32, 32))
    data = {"x_0": x_0, "x_1": x_0 + torch.tensor([2.0, -1.0])}
    lt.fit(model, lambda m, b: flow_matching_loss(m, b["x_1"], x_0=b["x_0"]), data, steps=300, batch_size=256,
           learning_rate=3e-3, progress=False)  # fmt: skip
    model.cpu()
    moved = model.transport(x_0[:500], steps=10)
    assert (moved - data["x_1"][:500]).abs().mean() < 0.1


@pytest.fixture(scope="module")
def trained():
    """Two moons, learned for a few seconds, with the toy itself."""
    torch.manual_seed(1)
    toy = lt.datasets.toys.make_toy("two_moons")
    x = toy.sample(20_000, torch.Generator().manual_seed(1)).float()
    model = FlowMatching(2, hidden=(64, 64, 64), preprocess=Standardise.fit(x))
    lt.fit(model, lambda m, b: flow_matching_loss(m, b["x"]), {"x": x}, steps=1500, batch_size=512,
                     learning_rate=1e-2, betas=(0.9, 0.95), progress=False)  # fmt: skip
    return toy, model.cpu()


def test_log_prob_fits_the_samples_in_boxes(trained):
    _, model = trained
    n = 20_000
    x = model.sample(n, generator=torch.Generator().manual_seed(2))
    side = torch.linspace(0, 1, 33)[:-1] + 1 / 64
    grid = torch.cartesian_prod(side, side)
    for low, high in (((-1.2, 0.0), (0.0, 1.2)), ((0.0, -0.8), (1.2, 0.4)), ((-0.5, 0.6), (0.5, 1.3))):
        low, high = torch.tensor(low), torch.tensor(high)
        density = model.log_prob(low + grid * (high - low)).exp()
        expected = float(density.mean() * (high - low).prod())
        found = float(((x > low) & (x < high)).all(1).float().mean())
        assert 0.05 < found < 0.95
        assert abs(found - expected) < 5 * math.sqrt(found * (1 - found) / n) + 0.003  # the grid knows it to 0.003


def test_a_short_training_comes_close_to_the_toy(trained):
    toy, model = trained
    x = toy.sample(2000, torch.Generator().manual_seed(3))
    gap = float((toy.log_prob(x) - model.log_prob(x.float())).mean())
    untrained = float(
        (toy.log_prob(x) - FlowMatching(2, hidden=(64,), preprocess=model.preprocess).log_prob(x.float())).mean()
    )
    assert 0 < gap < 0.25, gap
    assert untrained > 0.6, untrained


PRESENT = torch.tensor([[True, True, False], [True, True, True]])
FIRST = torch.tensor([1.0, 0.0], dtype=torch.float64)


def partly(**settings):
    """A model of events with two or three features, far from linear."""
    return network(3, condition=2, present=PRESENT, **settings)


def integral_in_two_features(model, third=0.0):
    """Integrate the density of the first class over the features it has."""
    axis = torch.linspace(-9, 9, 91, dtype=torch.float64)
    places = torch.cartesian_prod(axis, axis)
    x = torch.cat([places, torch.full_like(places[:, :1], third)], dim=1)
    return float(model.log_prob(x, FIRST, steps=15).exp().sum() * (axis[1] - axis[0]) ** 2)


def test_a_class_with_fewer_features_has_a_density_in_fewer_dimensions():
    model = partly()
    x = model.sample(500, FIRST, generator=torch.Generator().manual_seed(1))
    assert (x[:, 2] == 0).all() and (x[:, :2] != 0).all()
    assert (model.sample(500, FIRST.flip(0), generator=torch.Generator().manual_seed(1)) != 0).all()
    total = integral_in_two_features(model)
    assert abs(total - 1) < 5e-3
    assert integral_in_two_features(model, third=7.0) == total  # nobody looks there
    full = network(3, condition=2)  # negative control: a model that takes the zero for a value
    assert integral_in_two_features(full) < 0.6


def test_missing_features_get_no_noise_no_velocity_and_no_loss():
    model, generator = partly(), torch.Generator().manual_seed(1)
    condition = FIRST.expand(50, 2).clone()
    condition[25:] = FIRST.flip(0)
    x = model.network.keep(numbers(50, 3, seed=2), condition)
    x_t, t, target = model.path_batch(x, condition=condition, generator=generator)
    for values in (x_t, target, model.velocity(x_t, t, condition)):
        assert (values[:25, 2] == 0).all() and (values[25:] != 0).all()
    square = (model.velocity(x_t, t, condition) - target).square()
    loss = flow_matching_loss(model, x, condition, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss, square.sum() / (25 * 2 + 25 * 3))
    jacobian = torch.autograd.functional.jacobian(lambda y: model.velocity(y, 0.3, condition).sum(0), x)
    assert (jacobian[2, :25] == 0).all() and (jacobian[:, :25, 2] == 0).all() and (jacobian[:, 25:] != 0).all()
    there = model.transport(x, condition, steps=100, t_0=1.0, t_1=0.0)
    assert (there[:25, 2] == 0).all()
    torch.testing.assert_close(model.transport(there, condition, steps=100), x, rtol=0, atol=1e-7)


def test_present_must_fit():
    with pytest.raises(ValueError, match=r"present must be \(condition, features\)"):
        FlowMatching(4, condition=2, hidden=(4,), present=PRESENT)
    with pytest.raises(ValueError, match="needs a condition of 2 features"):
        partly().path_batch(numbers(5, 3))
