"""The amplitude samples: cuts, weights that give cross sections, seeds, units, and what they say about bad input."""

import math

import pytest
import torch
from scipy.integrate import quad

from lhcml_tutor.datasets import amplitudes, load_amplitudes
from lhcml_tutor.datasets.amplitudes import make_amplitudes
from lhcml_tutor.kinematics import delta_r, mandelstam, mass, mass_squared, pt
from lhcml_tutor.physics.amplitudes import qqbar_to_z_gluons
from lhcml_tutor.physics.diphoton import gg_to_gamma_gamma
from lhcml_tutor.physics.gluons import gluons

MASS_Z = 91.1876


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path))


@pytest.mark.parametrize(("process", "n_gluons"), [("qqbar_zg", 1), ("qqbar_zgg", 2), ("qqbar_zggg", 3)])
def test_sample_is_what_it_says(process, n_gluons):
    events = load_amplitudes(process, n=5000, seed=2)
    momenta = events["momenta"]
    assert momenta.shape == (5000, 3 + n_gluons, 4)
    assert set(events.columns) == set(events.units) == {"momenta", "amplitude", "weight"}
    assert all(column.dtype == torch.float64 for column in events.columns.values())
    assert events.units["amplitude"] == {1: "1", 2: "GeV^-2", 3: "GeV^-4"}[n_gluons]
    jets, root_s = momenta[:, 3:], mass(momenta[:, :2].sum(1))
    assert (pt(jets) > 30).all() and root_s.min() >= 300 and root_s.max() <= 2000
    assert abs(root_s.log().mean() - math.log(300 * 2000) / 2) < (0.05 if n_gluons < 3 else 0.15)  # cuts cost low ones
    if n_gluons >= 2:
        assert (delta_r(jets[:, 0], jets[:, 1]) > 0.4).all()
    scale = root_s[:, None]
    assert ((momenta[:, :2].sum(1) - momenta[:, 2:].sum(1)).abs() < 1e-10 * scale).all()
    assert ((mass_squared(momenta[:, 2]) - MASS_Z**2).abs() < 1e-10 * root_s**2).all()
    assert (momenta[:, 0, 3] == momenta[:, 0, 0]).all() and (momenta[:, 1, 3] == -momenta[:, 1, 0]).all()
    assert torch.allclose(events["amplitude"], qqbar_to_z_gluons(momenta), rtol=1e-12)
    assert 0.4 < len(events) / events.provenance["points_thrown"] < 1


def test_weights_give_the_cross_section():
    """A weighted mean against a two-dimensional integral over sqrt(s) and the gluon's angle, pT cut included.

    The mean is of |M|^2 t u / s^2: without the factor a few collinear events would carry it and hide a fault of 1%.
    """
    n = 50_000
    events = make_amplitudes("qqbar_zg", n, seed=3)
    thrown = events.provenance["points_thrown"]
    s, t, u = mandelstam(events["momenta"])
    value = events["weight"] * events["amplitude"] * t * u / s**2
    mean = value.sum() / thrown
    error = (value.square().sum() / thrown - mean**2).sqrt() / thrown**0.5

    def at(log_energy):
        s = math.exp(2 * log_energy)
        k = (s - MASS_Z**2) / (2 * math.sqrt(s))
        edge = math.sqrt(1 - (30 / k) ** 2)

        def squared(cosine):
            t, u = -math.sqrt(s) * k * (1 - cosine), -math.sqrt(s) * k * (1 + cosine)
            return 32 * (t * t + u * u + 2 * s * MASS_Z**2) / s**2

        volume = k / math.sqrt(s) / (4 * math.pi)  # of two-body phase space, Phi_2 = |k| / (4 pi sqrt(s))
        return volume * quad(squared, -edge, edge)[0] / 2

    low, high = math.log(300), math.log(2000)
    truth = quad(at, low, high)[0] / (high - low)
    assert error < 0.003 * truth
    assert abs(mean - truth) < 4 * error


@pytest.mark.parametrize("process", ["qqbar_zg", "qqbar_zgg"])
def test_a_small_sample_is_the_beginning_of_a_large_one(process, monkeypatch):
    monkeypatch.setattr(amplitudes, "POINTS", 500)
    large, small, other = (make_amplitudes(process, n, seed) for n, seed in ((1600, 4), (700, 4), (700, 5)))
    assert all(torch.equal(small[name], large[name][:700]) for name in small.columns)
    assert small.provenance["points_thrown"] < large.provenance["points_thrown"]
    assert not torch.isclose(other["amplitude"], small["amplitude"]).any()
    assert len(set(large["amplitude"].tolist())) == 1600  # no batch comes twice


def test_second_call_reads_the_cache(capsys, monkeypatch):
    first = load_amplitudes("qqbar_zg", n=100)
    monkeypatch.setattr(amplitudes, "qqbar_to_z_gluons", None)  # would fail if it were made again
    second = load_amplitudes("qqbar_zg", n=100)
    assert torch.equal(first["amplitude"], second["amplitude"])
    assert "from the cache" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"process": "gg_zgg"}, "no process 'gg_zgg'; the processes are: qqbar_zg, qqbar_zgg"),
        ({"n": 0}, "n must be an integer >= 1, not 0"),
        ({"n": 10.5}, "n must be an integer"),
        ({"n": "many"}, "n must be an integer"),
        ({"n": math.nan}, "n must be an integer"),
        ({"seed": -1}, "seed must be an integer >= 0"),
        ({"seed": True}, "seed must be an integer"),
        ({"energy": (50.0, 90.0)}, "above 91.1876 GeV"),
        ({"energy": (900.0, 300.0)}, "lowest, highest"),
        ({"energy": 500.0}, "lowest, highest"),
        ({"energy": (300.0, math.inf)}, "lowest, highest"),
        ({"energy": (92.0, 95.0)}, "raise the energy"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_amplitudes(**{"process": "qqbar_zg", "n": 10, **arguments})


def test_whole_floats_count_as_integers():
    assert len(load_amplitudes("qqbar_zg", n=1e2)) == 100


@pytest.mark.parametrize(("process", "n_out"), [("gg_gg", 2), ("gg_ggg", 3), ("gg_gggg", 4), ("gg_aa", 2)])
def test_gluons_and_photons(process, n_out):
    events = make_amplitudes(process, n=50, seed=2)
    momenta = events["momenta"]
    assert momenta.shape == (50, 2 + n_out, 4) and pt(momenta[:, 2:]).min() > 30
    if process == "gg_aa":
        assert torch.equal(events["amplitude"], gg_to_gamma_gamma(momenta))
        return
    assert torch.allclose(events["amplitude"], gluons(momenta), rtol=1e-12)
    ratio = events["amplitude_leading"] / events["amplitude"]
    assert torch.allclose(ratio, torch.ones(50).double()) if n_out < 4 else 0.9 < ratio.mean() < 0.999
    assert events.units["amplitude"] == {2: "1", 3: "GeV^-2", 4: "GeV^-4"}[n_out]
