"""Denoising diffusion against a Gaussian, whose noise is known by formula at every step."""

import math

import pytest
import torch
from torch import nn

import lhcml_tutor as lt
from lhcml_tutor.bijections import LogShift, Standardise
from lhcml_tutor.diffusion import Diffusion, noise_schedule, noised
from lhcml_tutor.layers import BayesianLinear

MEAN, WIDTH = 0.8, 0.4


class ExactDiffusion(Diffusion):
    """E[noise | x_t] for Gaussian data in place of the network: noise and x_t are jointly Gaussian."""

    def predict_noise(self, x_t, t, condition=None):
        a = float(self.alpha_bar[t])
        return math.sqrt(1 - a) * (x_t - math.sqrt(a) * MEAN) / (a * WIDTH**2 + 1 - a)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
@pytest.mark.parametrize("steps", [25, 100, 1000])
def test_the_signal_falls_at_every_step(kind, steps):
    a = noise_schedule(steps, kind)
    assert a.shape == (steps + 1,) and a[0] == 1 and a[-1] > 0
    ratio = a[1:] / (1 - a[1:])  # signal to noise
    assert (ratio.diff() < 0).all() and ratio[-1] < 1e-3


def test_the_schedules_are_those_of_the_papers():
    t = torch.arange(1001, dtype=torch.float64) / 1000
    f = ((t + 0.008) / 1.008 * math.pi / 2).cos().square()  # Nichol and Dhariwal, to a_T = 0
    assert (noise_schedule(1000, "cosine") - f / f[0]).abs().max() < 0.01
    beta = 1 - noise_schedule(1000, "linear")[1:] / noise_schedule(1000, "linear")[:-1]
    torch.testing.assert_close(beta[[0, 499, 999]], torch.tensor([1e-4, 0.01004, 0.02], dtype=torch.float64),
                               rtol=1e-3, atol=0)  # fmt: skip


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_many_small_steps_are_one_large_one(kind):
    """The chain x_s = sqrt(1 - beta) x_(s-1) + sqrt(beta) noise, moment by moment, against the closed form."""
    a, mean, variance = noise_schedule(100, kind), MEAN, WIDTH**2
    for now, before in zip(a[1:].tolist(), a[:-1].tolist()):
        mean, variance = math.sqrt(now / before) * mean, now / before * variance + 1 - now / before
    assert mean == pytest.approx(math.sqrt(a[-1]) * MEAN, rel=1e-10)
    assert variance == pytest.approx(float(a[-1]) * WIDTH**2 + 1 - float(a[-1]), rel=1e-10)
    n, x = 200_000, MEAN + WIDTH * torch.randn(200_000, 1, dtype=torch.float64, generator=generator())
    x_t = noised(x, torch.randn(n, 1, dtype=torch.float64, generator=generator(2)), a[40])
    expected = math.sqrt(float(a[40]) * WIDTH**2 + 1 - float(a[40]))
    assert abs(x_t.mean() - math.sqrt(a[40]) * MEAN) < 5 * expected / math.sqrt(n)
    assert abs(x_t.std() / expected - 1) < 5 / math.sqrt(2 * n)


def test_the_exact_noise_is_the_mean_of_the_noise():
    model, n = ExactDiffusion(1, hidden=(1,), steps=100).double(), 400_000
    x = MEAN + WIDTH * torch.randn(n, 1, dtype=torch.float64, generator=generator())
    noise = torch.randn(n, 1, dtype=torch.float64, generator=generator(2))
    x_t = noised(x, noise, model.alpha_bar[40])
    residual = noise - model.predict_noise(x_t, 40)
    for f in (torch.ones_like(x_t), x_t, torch.tanh(x_t)):
        assert (residual * f).mean().abs() < 5 * (residual * f).std() / math.sqrt(n)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_the_exact_noise_gives_the_gaussian_back(kind):
    model = ExactDiffusion(1, hidden=(1,), steps=1000, schedule=kind).double()
    n = 20_000
    for x in (
        model.sample(n, generator=generator(3)),
        model.sample(n, generator=generator(3), variance="beta"),
        model.sample_ddim(n, steps=250, generator=generator(3)),
    ):
        assert abs(x.mean() - MEAN) < 5 * WIDTH / math.sqrt(n) + 0.005  # what 1000 or 250 steps leave
        assert abs(x.std() / WIDTH - 1) < 5 / math.sqrt(2 * n) + 0.02


def test_ddim_is_a_map_and_its_error_falls_with_its_steps():
    model = ExactDiffusion(1, hidden=(1,), steps=1000).double()
    start = torch.randn((500, 1), dtype=torch.float64, generator=generator(3))
    exact = MEAN + WIDTH * start  # the standardised place in the Gaussian stays, up to a_T
    errors = []
    for steps in (50, 100, 200):
        x = model.sample_ddim(500, steps=steps, generator=generator(3))
        assert torch.equal(x, model.sample_ddim(500, steps=steps, generator=generator(3), batch_size=77))
        errors.append(float((x - exact).abs().max()))
    assert errors[2] < errors[1] < errors[0] < 0.15
    assert 0.7 < math.log2(errors[0] / errors[1]) < 1.3  # first order, like Euler


def test_negative_control_noise_with_the_wrong_sign():
    class Wrong(ExactDiffusion):
        def predict_noise(self, x_t, t, condition=None):
            return -super().predict_noise(x_t, t)

    x = Wrong(1, hidden=(1,), steps=100).double().sample_ddim(1000, steps=50, generator=generator())
    assert abs(x.std() / WIDTH - 1) > 1


@pytest.mark.parametrize("linear", [nn.Linear, BayesianLinear])
def test_gradients_reach_every_parameter(linear):
    model = Diffusion(2, condition=1, hidden=(8, 8), linear=linear)
    x_t, t, noise = model.noise_batch(torch.randn(64, 2, generator=generator()))
    assert t.min() >= 1 and t.max() <= 1000
    (model.predict_noise(x_t, t, torch.ones(64, 1)) - noise).square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_noise_batch_is_consistent():
    model = Diffusion(2, steps=50, hidden=(4,), preprocess=LogShift(20.0)).double()
    x = 20 + torch.rand(100, 2, dtype=torch.float64, generator=generator())
    x_t, t, noise = model.noise_batch(x, generator=generator())
    a = model.alpha_bar[t][:, None]
    torch.testing.assert_close((x_t - (1 - a).sqrt() * noise) / a.sqrt(), (x - 20).log(), rtol=1e-6, atol=1e-8)


def test_condition_matters_and_a_bayesian_network_is_one_function():
    torch.manual_seed(2)
    model = Diffusion(2, condition=1, hidden=(16,), steps=20)
    c = torch.tensor([[0.0], [0.0], [3.0], [3.0]])
    samples = [model.sample_ddim(4, value, steps=10, generator=generator()) for value in (c, c[0], c[3])]
    torch.testing.assert_close(samples[0][:2], samples[1][:2])
    torch.testing.assert_close(samples[0][2:], samples[2][2:])
    assert (samples[1] - samples[2]).abs().min() > 1e-4
    bayes = Diffusion(2, hidden=(16,), steps=20, linear=BayesianLinear)
    two = [bayes.sample_ddim(6, steps=10, generator=generator(), batch_size=size) for size in (2, 6)]
    torch.testing.assert_close(*two)


def test_save_and_load(tmp_path):
    x = torch.rand(100, 2, generator=generator()) * 50
    models = [Diffusion(2, hidden=(8,), steps=20, preprocess=p) for p in (Standardise.fit(x), Standardise(2))]
    torch.save(models[0].state_dict(), tmp_path / "model.pt")
    models[1].load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(*(model.sample(5, generator=generator()) for model in models))


WRONG = {
    "nan": (lambda m, c: m.noise_batch(torch.full((3, 2), math.nan)), "x has 6 of 6 values"),
    "shape": (lambda m, c: m.noise_batch(torch.zeros(3)), r"x must be a tensor of shape \(n, 2\)"),
    "no condition": (lambda m, c: c.sample(3), "needs a condition of 1 feature"),
    "a condition": (lambda m, c: m.sample(3, torch.zeros(3, 1)), "takes none"),
    "rows": (lambda m, c: c.sample_ddim(3, torch.zeros(4, 1), steps=2), "row by row"),
    "nan condition": (lambda m, c: c.sample(3, torch.full((1,), math.nan)), "condition has 1 of 1"),
    "n": (lambda m, c: m.sample(0), "n is how many"),
    "variance": (lambda m, c: m.sample(3, variance="none"), "'posterior' or 'beta'"),
    "steps": (lambda m, c: m.sample_ddim(3, steps=31), "from 1 to the 30"),
    "schedule": (lambda m, c: noise_schedule(100, "square"), "'cosine' or 'linear'"),
    "few": (lambda m, c: noise_schedule(10, "linear"), "take more than 20"),
    "one": (lambda m, c: noise_schedule(1), "an integer above 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_named(case):
    call, said = WRONG[case]
    with pytest.raises(ValueError, match=said):
        call(Diffusion(2, hidden=(4,), steps=30), Diffusion(2, condition=1, hidden=(4,), steps=30))


def test_a_short_training_finds_both_humps():
    torch.manual_seed(1)
    toy = lt.datasets.toys.make_toy("camel")
    x = toy.sample(20_000, generator()).float()
    model = Diffusion(1, hidden=(64, 64), steps=100, preprocess=Standardise.fit(x))

    def loss(model, batch):
        x_t, t, noise = model.noise_batch(batch["x"])
        return (model.predict_noise(x_t, t) - noise).square().mean()

    lt.fit(model, loss, {"x": x}, steps=1500, batch_size=512, learning_rate=1e-2, betas=(0.9, 0.95), progress=False)
    model.cpu()
    for found in (
        model.sample(10_000, generator=generator(2)),
        model.sample_ddim(10_000, steps=50, generator=generator(2)),
    ):
        assert abs((found > 0).double().mean() - 0.5) < 0.05
        assert abs(found.abs().mean() - 4) < 0.2 and 0.8 < found.abs().std() < 1.3
        assert (found.abs() < 1).double().mean() < 0.02  # the toy has 0.0013 between the humps


def test_missing_features_get_no_noise():
    present = torch.tensor([[True, True, False], [True, True, True]])
    torch.manual_seed(2)
    model = Diffusion(3, condition=2, hidden=(16,), steps=20, present=present)
    condition = torch.tensor([[1.0, 0.0]] * 25 + [[0.0, 1.0]] * 25)
    x = torch.randn(50, 3, generator=generator())
    x_t, t, noise = model.noise_batch(x, condition, generator())
    samples = (model.sample(50, condition, generator()), model.sample_ddim(50, condition, 5, generator()))
    for values in (x_t, noise, model.predict_noise(x_t, t, condition), *samples):
        assert (values[:25, 2] == 0).all() and (values[25:] != 0).all() and (values[:25, :2] != 0).all()
    spoiled = x_t + torch.tensor([0.0, 0.0, 7.0])  # what is missing is not looked at
    same = model.predict_noise(spoiled, t, condition) == model.predict_noise(x_t, t, condition)
    assert same[:25].all() and not same[25:].any()
