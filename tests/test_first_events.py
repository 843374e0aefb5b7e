"""The first events: committed files against their manifest, Pythia's settings and the Review of Particle Physics."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lhcml_tutor.datasets import Events, first_events, load_first_events, storage
from lhcml_tutor.physics import pythia

DATA = Path(__file__).parents[1] / "data"
W_PLUS, W_MINUS = ("w_plus_quark", "w_plus_antiquark"), ("w_minus_quark", "w_minus_antiquark")


def arrays(which):
    events = load_first_events(which)
    return {name: column.double().numpy() if column.is_floating_point() else column.numpy()
            for name, column in events.columns.items()}  # fmt: skip


def mass(*momenta):
    p = sum(momenta)
    return np.sqrt(np.maximum(p[:, 0] ** 2 - (p[:, 1:] ** 2).sum(1), 0))


def pt(p):
    return np.hypot(p[:, 1], p[:, 2])


def breit_wigner_fit(masses, near, width):
    """Return mass and width, each with its statistical error, of a maximum likelihood fit within 1.5 widths.

    The width runs, Gamma(s) = Gamma s / M^2, in Pythia as in the Review of Particle Physics; a fixed width would give
    a mass lower by Gamma^2 / 2M, 34 MeV for the Z. The tilt takes what phase space and the photon do.
    """
    low, high = near - 1.5 * width, near + 1.5 * width
    m, grid = masses[(masses > low) & (masses < high)], np.linspace(low, high, 2001)

    def shape(x, p):
        return (1 + p[2] * (x - near) / width) * x**3 / ((x**2 - p[0] ** 2) ** 2 + (x**2 * p[1] / p[0]) ** 2)

    def loss(p):
        if p[1] <= 0 or abs(p[2]) > 0.6:
            return 1e9
        return np.log(np.trapezoid(shape(grid, p), grid)) - np.log(shape(m, p)).mean()

    best = minimize(loss, [near, width, 0.0], method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-9}).x
    step = np.diag([0.02 * width, 0.02 * width, 0.02])
    curvature = [[(loss(best + a + b) - loss(best + a - b) - loss(best - a + b) + loss(best - a - b)) / 4
                  / (a.sum() * b.sum()) for a in step] for b in step]  # fmt: skip
    error = np.sqrt(np.diag(np.linalg.inv(np.array(curvature) * len(m))))
    return (best[0], error[0]), (best[1], error[1])


def agrees(masses, particle):
    """Fit; True where mass and width are within 3 statistical errors of what the Review of Particle Physics says.

    Measured on the committed files, in errors, mass and width: Z -1.1, -2.9; W 0.5, -0.2; top -0.5, -0.8. That the Z
    came out narrow, 2.410 +- 0.029 GeV, is chance: 100,000 events with the same settings and seeds 4000-4019 gave
    2.506 +- 0.015 GeV. The seed stays 1 all the same: a seed chosen for its result would make the errors untrue.
    """
    _, true_mass, true_width = pythia.PDG[particle]
    return all(
        abs(value - truth) < 3 * error
        for (value, error), truth in zip(breit_wigner_fit(masses, true_mass, true_width), (true_mass, true_width))
    )


def masses_of(particle):
    if particle == "Z":
        return arrays("z_mumu")["mass_generated"]
    c = arrays("ttbar")
    bottoms = ("b", "bbar") if particle == "top" else (None, None)
    return np.concatenate([
        mass(*(c[name] for name in (*products, *([bottom] if bottom else []))))
        for bottom, products in zip(bottoms, (W_PLUS, W_MINUS))
    ])  # fmt: skip


@pytest.mark.parametrize("which", first_events.COMMITTED)
def test_manifest_and_file_agree(which):
    entry = storage.manifest()[which]
    path = DATA / entry["file"]
    events = Events.load(path, entry["sha256"])
    assert path.stat().st_size == entry["bytes"] <= 1_200_000
    assert events.provenance == entry["provenance"] and entry["provenance"]["settings"]
    assert entry["events"] == (len(events) if which != "jets_display" else len(events["event"].unique()))
    for name, column in events.columns.items():
        wanted = {"shape": list(column.shape), "dtype": str(column.dtype)[6:], "unit": events.units[name]}
        assert entry["columns"][name] == wanted and events.units[name] in ("GeV", "1")
        assert (events.units[name] == "GeV") == column.is_floating_point()
    assert list(entry["columns"]) == list(events.columns) and entry["events"] == first_events.COMMITTED[which]


def test_all_files_together_are_small():
    assert set(storage.manifest()) >= set(first_events.COMMITTED)
    assert sum((DATA / f"{name}.npz").stat().st_size for name in first_events.COMMITTED) < 3_000_000


@pytest.mark.parametrize("particle", ["Z", "W", "top"])
def test_mass_and_width_are_the_known_ones_and_the_fit_would_notice(particle):
    masses = masses_of(particle)
    assert agrees(masses, particle)
    near, width = pythia.PDG[particle][1:]
    assert not agrees(masses + 0.05 * width, particle), "a shift by 5% of the width"
    assert not agrees(near + 1.1 * (masses - near), particle), "a width that is 10% too large"


def test_photons_carry_mass_away_from_the_muons():
    c = arrays("z_mumu")
    measured = mass(c["muon_minus"], c["muon_plus"])
    rounding = 2.0**-22 * (c["muon_minus"] + c["muon_plus"])[:, 0] ** 2 / measured  # of E^2 - p^2 in float32
    assert (measured < c["mass_generated"] + rounding).all()
    assert 0.5 < (measured > c["mass_generated"] - 0.01).mean() < 0.8, "muons that radiated nothing"
    assert c["mass_generated"].min() >= 60 and c["mass_generated"].max() <= 120


def test_muons_recoil_against_jets():
    c = arrays("z_mumu")
    pt_z = pt(c["muon_minus"] + c["muon_plus"])
    assert 10 < np.median(pt_z) < 20 and (pt_z > 100).mean() > 0.005
    assert pt_z[c["n_jets"] > 0].mean() > 3 * pt_z[c["n_jets"] == 0].mean()
    for name in ("muon_minus", "muon_plus"):
        assert np.abs(mass(c[name]) ** 2 - 0.10566**2).max() < 1e-6 * (c[name][:, 0] ** 2).max()


def test_six_partons_balance_and_make_two_tops_and_two_ws():
    events = load_first_events("ttbar")
    c = {name: column.double() for name, column in events.columns.items()}
    assert torch.allclose(c["top"], sum(c[name] for name in ("b", *W_PLUS)), atol=1e-3)
    assert torch.allclose(c["antitop"], sum(c[name] for name in ("bbar", *W_MINUS)), atol=1e-3)
    partons = [c[name] for name in ("b", "bbar", *W_PLUS, *W_MINUS)]
    assert sum(partons)[:, 1:3].abs().max() < 1e-3, "without showers the transverse momenta cancel"
    swapped = (c["b"] + c["w_minus_quark"] + c["w_minus_antiquark"]).numpy()
    assert (abs(mass(swapped) - 172.57) < 5).mean() < 0.2 < 0.8 < (abs(mass(c["top"].numpy()) - 172.57) < 5).mean()


def test_jets_pass_their_cuts_and_the_generator_is_not_cut_off():
    c = arrays("jets")
    first, second = pt(c["jet_1"]), pt(c["jet_2"])
    assert (first >= second).all() and second.min() >= pythia.JET_PT_MIN and second.min() < pythia.JET_PT_MIN + 1
    for jet in (c["jet_1"], c["jet_2"]):
        assert (np.abs(np.arcsinh(jet[:, 3] / pt(jet))) < 2.5).all() and (mass(jet) > 0).mean() > 0.999
    edge = float(pythia.RECIPES["jets"].settings[-1].split("=")[1])
    assert c["pt_hat"].min() >= edge and not cut_off(c["pt_hat"], edge)
    assert cut_off(c["pt_hat"][c["pt_hat"] > 140], 140), "the control: a generator that started too high"


def cut_off(pt_hat, edge):
    """Tell whether accepted events stand at the edge where the generator started, so that some are missing below.

    Where the spectrum falls by a factor r per 10 GeV towards the edge, a share near / (r - 1) is missing.
    """
    near, next_bin = (pt_hat < edge + 10).sum(), ((pt_hat >= edge + 10) & (pt_hat < edge + 20)).sum()
    return near >= next_bin or near / (next_bin / near - 1) > 0.005 * len(pt_hat)


def test_display_shows_the_events_of_the_sample_jets():
    shown, jets = load_first_events("jets_display"), load_first_events("jets")
    for event in range(first_events.COMMITTED["jets_display"]):
        rows = shown[shown["event"] == event]
        for number, name in enumerate(("jet_1", "jet_2")):
            inside = rows["jet"] == number
            assert inside.sum() == jets[f"n_constituents_{number + 1}"][event]
            assert torch.allclose(
                rows["momentum"][inside].double().sum(0), jets[name][event].double(), rtol=1e-5, atol=1e-2
            )
        assert rows["jet"].max() + 1 == jets["n_jets"][event]
    assert load_first_events("jets_display", n=2)["event"].max() == 1


def test_fewer_events_are_the_first_of_the_sample(capsys):
    few, all_of_them = load_first_events("ttbar", n=10), load_first_events("ttbar")
    assert len(few) == 10 and torch.equal(few["top"], all_of_them["top"][:10])
    assert "sample ttbar: committed with the course (data/ttbar.npz)" in capsys.readouterr().out


@pytest.mark.parametrize("which", ["z_mumu", "ttbar", "jets", "jets_display"])
def test_the_recorded_settings_give_the_committed_events(which):
    """Seeds and settings of the manifest are enough to make the file again; the first events stand for all."""
    pytest.importorskip("pythia8mc", reason='needs pip install "lhcml-tutor[simulation]"')
    entry = storage.manifest()[which]
    if first_events.pythia.version() != entry["provenance"]["version"]:
        pytest.skip(f"made with Pythia {entry['provenance']['version']}, installed is {first_events.pythia.version()}")
    n = {"z_mumu": 20, "ttbar": 400, "jets": 8, "jets_display": 3}[which]
    stored, made = load_first_events(which, n=n), first_events.make_first_events(which, n, entry["seed"])
    assert made.provenance == stored.provenance == json.loads(json.dumps(made.provenance))
    for name, column in stored.columns.items():
        assert torch.allclose(made[name], column, rtol=1e-5, atol=1e-4), name


def test_seeds_and_batches():
    pytest.importorskip("pythia8mc", reason='needs pip install "lhcml-tutor[simulation]"')
    one, more = pythia.make_first_events("ttbar", 30, seed=5), pythia.make_first_events("ttbar", 300, seed=5)
    other = pythia.make_first_events("ttbar", 30, seed=6)
    for name in one:
        assert (one[name] == more[name][:30]).all()
        assert not (one[name] == other[name]).any()


def test_top_decays_conserve_momentum_in_the_record():
    """The partons that we pick by their mothers are those of the record's own top: an independent sum."""
    pytest.importorskip("pythia8mc", reason='needs pip install "lhcml-tutor[simulation]"')
    import awkward as ak

    batch = pythia.start(pythia.RECIPES["ttbar"].settings, seed=9).nextBatch(100)
    columns = pythia._ttbar(batch)
    for number, products in ((6, ("b", *W_PLUS)), (-6, ("bbar", *W_MINUS))):
        top = batch.prt[batch.prt.id == number][:, 0].p
        record = np.stack([ak.to_numpy(top[name], allow_missing=False) for name in ("e", "px", "py", "pz")], axis=1)
        assert np.abs(sum(columns[name] for name in products) - record).max() < 1e-6
        wrong = sum(columns[name] for name in ("bbar" if number > 0 else "b", *products[1:]))
        assert np.abs(wrong - record).max() > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ttbar", 0), "n must be an integer of at least 1"),
        (("ttbar", 1.5), "n = 1.5 events"),
        (("ttbar", 5, 0), "from 1 to 899000"),
        (("higgs", 5), "the recipes are: z_mumu, ttbar, jets"),
    ],
)
def test_impossible_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        pythia.make_first_events(*arguments)
