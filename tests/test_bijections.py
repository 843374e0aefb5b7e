"""Bijections: every one goes through the same examination, and broken ones fail it."""

import math

import pytest
import torch

from lhcml_tutor.bijections import Compose, Logit, LogShift, OnColumns, Polar, Quantile, Standardise


def points(n=64, d=3):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 5 + 21  # in (21, 26)


def examples():
    x = points()
    log = LogShift(20.0)
    return {
        "Standardise": Standardise.fit(x * torch.tensor([1.0, 1e3, 1e-3])),
        "Logit": Logit(20.0, 27.0),
        "Logit per feature": Logit([20.0, 19.0, 20.5], [27.0, 30.0, 26.0], eps=0.0),
        "LogShift": LogShift(20.0),
        "LogShift per feature": LogShift([20.0, 0.0, -5.0]),
        "OnColumns": OnColumns([2, 0], LogShift([20.0, 15.0])),
        "Quantile": Quantile(20.0, 27.0),
        "Polar": OnColumns([0, 1], Polar()),
        "Compose": Compose(log, Standardise.fit(log(x)[0]), Logit(-9.0, 9.0)),
    }


def examine(bijection, x):
    """The conformance test: inverse, log_det against autograd both ways, the sign, the shapes."""
    z, log_det = bijection(x)
    again, back = bijection.inverse(z)
    assert z.shape == x.shape and log_det.shape == back.shape == (len(x),)
    assert (again - x).abs().max() <= 1e-8, "inverse"
    assert (log_det + back).abs().max() <= 1e-8, "the two log_dets are not each other's negative"
    for row in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda v: bijection(v[None])[0][0], x[row])
        assert abs(torch.linalg.slogdet(jacobian).logabsdet - log_det[row]) <= 1e-8, "log_det"
        jacobian = torch.autograd.functional.jacobian(lambda v: bijection.inverse(v[None])[0][0], z[row])
        assert abs(torch.linalg.slogdet(jacobian).logabsdet - back[row]) <= 1e-8, "log_det of the inverse"


@pytest.mark.parametrize("name", examples())
def test_conformance(name):
    examine(examples()[name], points())


class WithoutLogDet(LogShift):
    def forward(self, x, condition=None):
        z, log_det = super().forward(x, condition)
        return z, torch.zeros_like(log_det)


class WrongSign(LogShift):
    def forward(self, x, condition=None):
        z, log_det = super().forward(x, condition)
        return z, -log_det

    def inverse(self, z, condition=None):
        x, log_det = super().inverse(z, condition)
        return x, -log_det


class OneFeatureForgotten(LogShift):
    def forward(self, x, condition=None):
        z, _ = super().forward(x, condition)
        return z, -z[:, 1:].sum(1)

    def inverse(self, z, condition=None):
        x, _ = super().inverse(z, condition)
        return x, z[:, 1:].sum(1)


class InverseOff(Standardise):
    def inverse(self, z, condition=None):
        x, log_det = super().inverse(z, condition)
        return x + 1e-6, log_det


@pytest.mark.parametrize(
    "broken",
    [WithoutLogDet(20.0), WrongSign(20.0), OneFeatureForgotten(20.0), InverseOff(3)],
    ids=lambda broken: type(broken).__name__,
)
def test_a_broken_bijection_fails_the_examination(broken):
    with pytest.raises(AssertionError):
        examine(broken, points())


@pytest.mark.parametrize("name", examples())
def test_state_dict_brings_everything_back(name, tmp_path):
    fitted, x = examples()[name], points()
    torch.save(fitted.state_dict(), tmp_path / "b.pt")
    blank = {
        "Standardise": lambda: Standardise(3),
        "Logit": lambda: Logit(0.0, 1.0),
        "Logit per feature": lambda: Logit([0.0] * 3, [1.0] * 3),
        "LogShift": lambda: LogShift(0.0),
        "LogShift per feature": lambda: LogShift([0.0] * 3),
        "OnColumns": lambda: OnColumns([2, 0], LogShift([0.0, 0.0])),
        "Quantile": lambda: Quantile(),
        "Polar": lambda: OnColumns([0, 1], Polar()),
        "Compose": lambda: Compose(LogShift(0.0), Standardise(3), Logit(0.0, 1.0)),
    }[name]()
    blank.load_state_dict(torch.load(tmp_path / "b.pt", weights_only=True))
    assert torch.equal(blank(x)[0], fitted(x)[0]) and torch.equal(blank(x)[1], fitted(x)[1])


@pytest.mark.parametrize("name", examples())
def test_float32_stays_float32(name):
    z, log_det = examples()[name](points().float())
    assert z.dtype == log_det.dtype == torch.float32


def test_density_in_gev_integrates_to_one():
    """p(x) = N(z) |dz/dx| over a grid that holds all of it: the sign at the top of the module is the right one."""
    bijection = Compose(LogShift(20.0), Standardise(1))
    x = torch.linspace(-12, 12, 20_001, dtype=torch.float64).exp()[:, None] + 20
    z, log_det = bijection(x)
    density = (-0.5 * z[:, 0] ** 2 - 0.5 * math.log(2 * math.pi) + log_det).exp()
    assert abs(torch.trapezoid(density, x[:, 0]) - 1) < 1e-5
    assert abs(torch.trapezoid((density.log() - 2 * log_det).exp(), x[:, 0]) - 1) > 1  # with the sign turned round


def test_standardise_is_fitted_on_what_it_is_given():
    x = points(1000)
    z, _ = Standardise.fit(x)(x)
    assert z.mean(0).abs().max() < 1e-12 and (z.std(0) - 1).abs().max() < 1e-12
    other, _ = Standardise.fit(x[:500])(x)
    assert other.mean(0).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_dead_feature_is_named_and_not_blown_up(dtype):
    x = points().to(dtype)
    x[:, 1] = 91.1876
    with pytest.warns(UserWarning, match=r"column 1 \(m_z\): the same in all events"):
        bijection = Standardise.fit(x, names=("pt", "m_z", "eta"))
    assert bijection(x)[0][:, 1].abs().max() < 1e-4
    assert torch.isfinite(bijection(x)[1]).all()


def test_a_small_spread_on_a_large_mean_is_no_dead_feature(recwarn):
    x = points() + 1e9
    Standardise.fit(x)
    assert not recwarn.list


def test_logit_with_eps_takes_the_ends_and_without_does_not():
    ends = torch.tensor([[0.1], [0.7]])  # 0.7 - 0.1 > 0.6 in float32
    z, log_det = Logit(0.1, 0.7)(ends)
    assert torch.isfinite(z).all() and torch.isfinite(log_det).all()
    with pytest.raises(ValueError, match=r"column 0 has the value 0.1 in row 0; .* without its ends; cut"):
        Logit(0.1, 0.7, eps=0.0)(ends)


@pytest.mark.parametrize(
    ("bijection", "x", "message"),
    [
        (
            LogShift(20.0),
            [[21.0, 30.0], [25.0, 20.0]],
            "column 1 has the value 20 in row 1; LogShift takes values above 20",
        ),
        (
            LogShift([0.0, 5.0]),
            [[1.0, 4.0]],
            r"column 1 has the value 4 in row 0; .* above \[0.0, 5.0\]; cut, or lower",
        ),
        (LogShift(0.0), [[float("nan")]], "column 0 has the value nan in row 0"),
        (
            Quantile(-2.0, 2.0),
            [[0.0, 1.0], [0.0, 2.5]],
            "value 2.5 in row 1; Quantile takes .* -2 to 2;",
        ),
        (Polar(), [[1.0, 1.0], [0.0, 0.0]], "column 0 has the value 0 in row 1; Polar has no angle for the origin"),
        (Polar(), [[1.0, 1.0, 1.0]], "2 features"),
        (
            Logit(0.0, 1.0),
            [[0.5], [1.5]],
            "column 0 has the value 1.5 in row 1; Logit takes the interval 0 to 1 with its",
        ),
        (Standardise(2), [[1.0]], r"has 2 features, x has the shape \(1, 1\)"),
        (Standardise(2), [1.0, 2.0], r"floating tensor of shape \(n, d\), not torch.float32 \(2,\); events.stack"),
        (LogShift(0.0), [[1]], r"not torch.int64 \(1, 1\)"),
        (OnColumns([3], LogShift(0.0)), [[1.0, 2.0]], r"no column 3 in x of shape \(1, 2\)"),
    ],
)
def test_outside_the_domain(bijection, x, message):
    with pytest.raises(ValueError, match=message):
        bijection(torch.tensor(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Logit(1.0, 1.0), "low must be below high"),
        (lambda: Logit(0.0, 1.0, eps=0.5), "1e-6 keeps the ends finite"),
        (lambda: Compose(), "at least one"),
        (lambda: OnColumns([1, 1], LogShift(0.0)), "different positions"),
        (lambda: Standardise.fit(torch.ones(1, 2)), "at least two events, here are 1"),
        (lambda: Standardise.fit(torch.tensor([[1.0], [float("inf")]])), "column 0 has the value inf in row 1"),
    ],
)
def test_impossible_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_condition_is_passed_on():
    class Shift(torch.nn.Module):
        def forward(self, x, condition=None):
            return x + condition, torch.zeros(len(x))

        def inverse(self, z, condition=None):
            return z - condition, torch.zeros(len(z))

    x, condition = points(), points()[:, :1]
    bijection = Compose(LogShift(20.0), Shift(), OnColumns([0], Shift()))
    assert torch.allclose(bijection.inverse(bijection(x, condition)[0], condition)[0], x)
