"""The committed samples of the chapters: cuts, masses, shapes and orders that physics demands, and their loaders."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lhcml_tutor import datasets, kinematics
from lhcml_tutor.datasets import collider, pythia_samples, registry, storage
from lhcml_tutor.physics import pythia, substructure
from lhcml_tutor.physics.detector import ATLAS
from lhcml_tutor.physics.event_records import particles, to_numpy, within
from lhcml_tutor.physics.tagging_jets import (
    PARTON_JET,
    TAGGING_RECIPES,
    TOP_JET,
    hardest_jets,
    seen_by_detector,
    small,
    with_resolution,
)
from lhcml_tutor.physics.z_unfolding_events import Z_UNFOLDING_RECIPES

JETS = (
    *("top_jets_top", "top_jets_qcd", "quark_gluon_jets_quark", "quark_gluon_jets_gluon"),
    *("top_jets_top_coarse", "top_jets_qcd_coarse", "quark_gluon_jets_quark_vincia", "quark_gluon_jets_gluon_vincia"),
)
PACKED = datasets.Events.load


@pytest.fixture(scope="module")
def z_jets():
    return datasets.load_z_jets(n=100_000)


@pytest.fixture(scope="module")
def top_jets():
    return datasets.load_top_jets(n=10_000)


@pytest.fixture(scope="module")
def parton_jets():
    return datasets.load_quark_gluon_jets(n=10_000)


# ---------------------------------------------------------------------------------------------- what is there


def test_enough_events_in_small_files():
    entries = storage.manifest()
    assert entries["z_jets"]["events"] >= 150_000
    assert all(entries[name]["events"] >= (15_000 if name in JETS[:4] else 2000) for name in JETS)
    sizes = [(storage.ROOT / "data" / file).stat().st_size for e in entries.values() for file in storage.files_of(e)]
    assert max(sizes) < 10e6 and sum(sizes) < 28e6


# ----------------------------------------------------------------------------------------------------- Z + jets


def test_muons_pass_their_cuts_and_make_a_z(z_jets):
    muons = torch.stack([z_jets["muon_minus"], z_jets["muon_plus"]], 1)
    assert kinematics.pt(muons).min() > 9.99 and kinematics.eta(muons).abs().max() < 2.501
    mass = kinematics.mass(muons.double().sum(1))
    peak = mass[(mass - 91.188).abs() < 10]
    assert abs(peak.median().item() - 90.95) < 0.15  # photon radiation pulls it below 91.188
    half = (peak - peak.median()).abs().median().item()  # Gamma / 2, a little more with radiation
    assert 1.1 < half < 1.6


def test_jets_are_exclusive_ordered_and_apart(z_jets):
    jets, number = z_jets["jets"], z_jets["n_jets"]
    pt = kinematics.pt(jets)
    there = torch.arange(3) < number[:, None]
    assert set(number.unique().tolist()) == {1, 2, 3}
    assert (pt[there] > 19.99).all() and (pt[~there] == 0).all() and (jets[~there] == 0).all()
    assert (pt[:, :-1] >= pt[:, 1:]).all()
    assert kinematics.eta(jets[there]).abs().max() < 4.501
    three = jets[number == 3]
    assert min(kinematics.delta_r(three[:, i], three[:, j]).min() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.39
    parts = [(number == n).float().mean().item() for n in (1, 2, 3)]
    assert 0.7 < parts[0] < 0.9 and 0.1 < parts[1] < 0.25 and parts[2] < parts[1] / 2


def test_z_and_jets_balance(z_jets):
    one = z_jets[z_jets["n_jets"] == 1]
    z = one["muon_minus"] + one["muon_plus"]
    back = kinematics.delta_phi(kinematics.phi(z), kinematics.phi(one["jets"][:, 0])).abs()
    assert back.median() > 2.7
    hard = kinematics.pt(z) > 60
    assert abs((kinematics.pt(one["jets"][hard, 0]) / kinematics.pt(z[hard])).median().item() - 1) < 0.12


def test_counts_are_poisson_like_with_a_hard_scale_and_staircase_like_without():
    """R(n+1)/R(n) falls as 1/(n+1) in the first and stays in the second."""
    falls = {}
    for selection, first in (("hard", 1), ("soft", 1)):
        number = datasets.load_jet_multiplicity(selection, n=150_000)["n_jets"]
        counts = torch.bincount(number, minlength=8).double()
        ratio = counts[first + 1 : first + 4] / counts[first : first + 3]
        falls[selection] = (ratio[2] / ratio[0]).item()
    assert 0.35 < falls["hard"] < 0.5 and 0.85 < falls["soft"] < 1.15


# ------------------------------------------------------------------------------------------------- jets to tag


@pytest.mark.parametrize("name", JETS)
def test_constituents_add_up_to_the_jet(name):
    jets = collider.chosen(name, 2000, seed=1)
    window = TOP_JET if name.startswith("top") else PARTON_JET
    jet, relative = jets["jet"].double(), jets["constituents"].double()
    pt, eta, phi, mass = jet.unbind(1)
    assert window["pt"][0] * 0.999 < pt.min() and pt.max() < window["pt"][1] * 1.001
    assert eta.abs().max() < window["eta_max"] * 1.001
    there = relative[..., 0] > 0
    masses = collider.masses_of(jets["pdg_id"]) if "pdg_id" in jets else torch.zeros(())
    assert (relative[..., 0].diff(dim=1) <= 0).all() and (relative[~there] == 0).all()
    momenta = (
        kinematics.from_pt_eta_phi_mass(
            relative[..., 0], eta[:, None] + relative[..., 1], phi[:, None] + relative[..., 2], masses
        )
        * there[..., None]
    )
    total = momenta.sum(1)
    whole = there.sum(1) < relative.shape[1]  # none was cut off
    assert whole.double().mean() > 0.85
    assert (kinematics.pt(total)[whole] / pt[whole] - 1).abs().max() < 0.01
    whole = whole & (mass > 0.1)  # a hard photon can be a jet of its own
    off = (kinematics.mass(total)[whole] / mass[whole] - 1).abs().median()
    assert off < (1e-3 if "pdg_id" in jets else 0.05)  # candidates of the detector are taken as massless here
    assert (kinematics.delta_phi(kinematics.phi(total), phi)[whole].abs() < 0.01).all()


def test_tops_peak_and_qcd_falls(top_jets):
    mass, top = top_jets["jet"][:, 3], top_jets["label"] == 1
    assert top.float().mean() == 0.5
    assert abs(mass[top].median().item() - 173) < 4
    assert ((mass[top] - 173).abs() < 20).float().mean() > 0.6
    assert 50 < mass[~top].median() < 90 and ((mass[~top] - 173).abs() < 20).float().mean() < 0.15


def test_tagging_tops_takes_more_than_the_mass(top_jets):
    """Trees on the mass alone leave much to do, and what many observables reach with few jets leaves room above.

    More jets to train on, and the public reference beside them: benchmarks/README.md.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    some = top_jets[:6000]
    features = torch.stack([some["jet"][:, 3], *substructure.observables(some["constituents"]).values()], 1).numpy()
    label = some["label"].numpy()
    auc = {}
    for name, x in (("mass", features[:, :1]), ("all", features)):
        trees = HistGradientBoostingClassifier(max_iter=80, random_state=1).fit(x[:4000], label[:4000])
        auc[name] = roc_auc_score(label[4000:], trees.predict_proba(x[4000:])[:, 1])
    assert 0.93 < auc["mass"] < 0.968 and 0.973 < auc["all"] < 0.988
    assert auc["all"] > auc["mass"] + 0.015


def test_gluons_radiate_more_than_quarks(parton_jets):
    number = (parton_jets["relative"][..., 0] > 0).sum(1).double()
    quark = parton_jets["label"] == 1
    ratio = number[~quark].mean() / number[quark].mean()
    assert 1.3 < ratio < 2.25  # towards C_A / C_F = 9/4, which only soft emissions would reach
    girth = substructure.girth(parton_jets["constituents"][:4000])
    assert girth[~quark[:4000]].median() > 1.1 * girth[quark[:4000]].median()
    mass = parton_jets["jet"][:, 3]
    assert mass[~quark].median() > 1.2 * mass[quark].median()


def test_constituents_have_an_identity(parton_jets):
    identity, there = parton_jets["pdg_id"], parton_jets["relative"][..., 0] > 0
    assert ((identity != 0) == there).all()
    known = torch.tensor([22, 211, 321, 2212, 130, 2112, 11, 13, 3112, 3222, 3312, 3334, 310, 3122, 3322])
    assert torch.isin(identity[there].abs(), known).all()
    pions = (identity.abs() == 211).sum() / there.sum()
    assert 0.35 < pions < 0.55


def test_a_worse_detector_sees_wider_peaks(top_jets):
    """All resolutions 1.5 times as large: the peak of the top is broader, though not much, and where it was."""
    coarse = datasets.load_top_jets(n=4000, detector="coarse")
    masses = [jets["jet"][jets["label"] == 1, 3] for jets in (top_jets, coarse)]
    masses = [mass[(mass - 173).abs() < 25] for mass in masses]
    assert abs(masses[0].mean() - masses[1].mean()) < 1.5
    widths = [mass.quantile(0.84) - mass.quantile(0.16) for mass in masses]
    assert 1.03 < widths[1] / widths[0] < 1.3
    nominal, worse = ATLAS["hadronic"]["resolution"], with_resolution(1.5)["hadronic"]["resolution"]
    assert all(
        a[0] == b[0] and np.allclose(np.multiply(a[1:], 1.5), b[1:]) for a, b in zip(nominal, worse, strict=True)
    )
    with pytest.raises(ValueError, match="'nominal' or 'coarse'"):
        datasets.load_top_jets(n=10, detector="perfect")


def test_another_shower_moves_jets_and_keeps_what_they_are(parton_jets):
    """Vincia's jets have the same momenta, and quarks and gluons differ as much, with other numbers of constituents."""
    other = datasets.load_quark_gluon_jets(n=4000, shower="vincia")
    assert other["jet"][:, 0].min() >= 500 and other["jet"][:, 0].max() <= 550
    aucs, moved = [], []
    for jets in (parton_jets, other):
        number = (jets["relative"][..., 0] > 0).sum(1).double()
        aucs.append(roc_auc_score(1 - jets["label"], number))
        moved.append([number[jets["label"] == flavour].mean() for flavour in (0, 1)])
    assert abs(aucs[0] - aucs[1]) < 0.02
    difference = max(abs(a - b) for a, b in zip(*moved, strict=True))
    assert 0.5 < difference < 4  # the means are known to 0.4
    with pytest.raises(ValueError, match="'pythia' or 'vincia'"):
        datasets.load_quark_gluon_jets(n=10, shower="herwig")


def test_small_types_do_not_change_a_classifier():
    """A classifier of jets from float64 has the same AUC within 0.001 for jets as stored; a coarse grid is seen."""
    exact, stored, coarse, label = [], [], [], []
    for i, name in enumerate(("quark_gluon_jets_gluon", "quark_gluon_jets_quark")):
        columns = pythia.make_tries(TAGGING_RECIPES[name], 2000, seed=12 + i)
        full = columns["constituents"]
        rough = np.concatenate([full[..., :1], np.round(full[..., 1:] * 20) / 20], -1)
        for values, into in ((full, exact), (small(full), stored), (rough, coarse)):
            values = torch.from_numpy(values.astype(np.float64))
            momenta = kinematics.from_pt_eta_phi_mass(*values.unbind(-1), 0.0)
            o = substructure.observables(momenta)
            into.append(torch.stack([o["girth"], o["pt_dispersion"], o["e_2"], o["tau_21"], o["mass"]], 1))
        label += [i] * len(full)
    exact, stored, coarse = map(torch.cat, (exact, stored, coarse))
    classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(exact, label)
    auc, auc_stored, auc_coarse = (
        roc_auc_score(label, classifier.decision_function(x)) for x in (exact, stored, coarse)
    )
    assert abs(auc - auc_stored) < 0.001 < abs(auc - auc_coarse)


def test_generated_hardness_does_not_pile_up_at_its_edge():
    """Few jets that pass come from the lower edge of pTHat, 330 GeV; a start at 420 GeV would lose every seventh."""
    generator = torch.Generator().manual_seed(1)
    engine = pythia.start(TAGGING_RECIPES["top_jets_qcd"].settings, seed=3)
    accepted = []
    for _ in range(16):
        batch = engine.nextBatch(250)
        record, visible = particles(batch)
        stable = record[visible & within(record, 0.0, 5.0)]
        _, _, rows = hardest_jets(seen_by_detector(stable, generator), **TOP_JET)
        accepted.append(np.sqrt(to_numpy(batch.info.pT2Hat))[rows])
    accepted = np.concatenate(accepted)
    assert len(accepted) > 150
    assert np.mean(accepted < 350) < 0.05 < np.mean(accepted < 420) and np.mean(accepted > 800) < 0.03
    assert 530 < np.median(accepted) < 640


@pytest.mark.parametrize("name", [name for name in registry.SAMPLES if name in pythia_samples.RECIPES])
def test_remade_events_are_the_committed_ones(name):
    entry = storage.manifest()[name]
    if entry["versions"]["pythia8mc"] != pythia.version():
        pytest.skip(f"made with Pythia {entry['versions']['pythia8mc']}")
    made = pythia_samples.make_shard(500, registry.shard_seed(entry["seed"], 0), which=name)
    stored = PACKED(storage.find(name))[: len(made)]
    for column in made.columns:
        assert torch.equal(made[column], stored[column]), column


# ------------------------------------------------------------------------------------------ dibosons and tops


@pytest.fixture(scope="module")
def zw():
    return datasets.load_zw_unfolding(n=6000)


def mass_of(events, *names):
    return kinematics.mass(sum(events[name].double() for name in names))


def test_diboson_masses_at_all_levels(zw):
    assert abs(mass_of(zw, "parton_lepton_minus", "parton_lepton_plus").median().item() - 91.1) < 0.2
    assert abs(mass_of(zw, "parton_quark", "parton_antiquark").median().item() - 80.3) < 0.4
    widths = []
    for level in ("parton", "particle", "detector"):
        mass = mass_of(zw, f"{level}_lepton_minus", f"{level}_lepton_plus")[zw["particle_complete"] == 1]
        assert abs(mass.median().item() - 90.8) < 0.7
        widths.append((mass - mass.median()).abs().quantile(0.68).item())
    assert widths[0] < widths[1] < widths[2]  # each level smears the one before
    jets = zw["detector_jets"]
    pair = kinematics.mass(jets[:, 0].double() + jets[:, 1].double())[zw["detector_n_jets"] == 2]
    assert 70 < pair.median() < 90 and (pair > 110).double().mean() > 0.02


def test_quarks_find_their_jets(zw):
    for quark in ("parton_quark", "parton_antiquark"):
        near = torch.stack([kinematics.delta_r(zw[quark], zw["detector_jets"][:, i]) for i in range(2)], 1)
        assert 0.5 < (near.min(1).values < 0.4).double().mean() < 0.95


def test_cuts_hold_in_the_detector(zw):
    leptons = torch.stack([zw["detector_lepton_minus"], zw["detector_lepton_plus"]], 1)
    assert kinematics.pt(leptons).min() > 14.99 and kinematics.eta(leptons).abs().max() < 2.501
    number, jets = zw["detector_n_jets"], zw["detector_jets"]
    there = torch.arange(4) < number[:, None]
    assert number.min() == 2 and kinematics.pt(jets)[there].min() > 24.99 and (jets[~there] == 0).all()
    assert 0.85 < zw["particle_complete"].double().mean() < 0.99


def test_w_prime_is_a_peak_that_the_background_lacks(zw):
    names = ("parton_lepton_minus", "parton_lepton_plus", "parton_quark", "parton_antiquark")
    signal = mass_of(datasets.load_zw_unfolding(n=1500, process="w_prime"), *names)
    assert abs(signal.median().item() - 599) < 3 and ((signal - 600).abs() < 60).double().mean() > 0.85
    assert ((mass_of(zw, *names) - 600).abs() < 60).double().mean() < 0.08
    with pytest.raises(ValueError, match="'zw' or 'w_prime'"):
        datasets.load_zw_unfolding(process="z_prime")


def test_tops_recoil_from_their_jets():
    events = datasets.load_ttbar_jets(n=3000)
    top = sum(events[name].double() for name in ("b", "w_plus_quark", "w_plus_antiquark"))
    antitop = sum(events[name].double() for name in ("bbar", "w_minus_quark", "w_minus_antiquark"))
    for p in (top, antitop):
        assert abs(kinematics.mass(p).median().item() - 172.57) < 0.2
    number, jets = events["n_jets"], events["jets"]
    assert set(number.unique().tolist()) == {0, 1, 2} and (kinematics.pt(jets) > 29.99).sum() == number.sum()
    pair = kinematics.pt(top + antitop)
    medians = [pair[number == k].median().item() for k in range(3)]
    assert medians[0] < 30 < medians[1] < medians[2]
    hard = (number == 1) & (pair > 60)
    assert 0.8 < (kinematics.pt(jets[:, 0])[hard] / pair[hard]).median() < 1.1


# ------------------------------------------------------------------------------------------------------ loaders


def test_seed_chooses_events():
    one, again, other = (datasets.load_z_jets(n=500, seed=s)["muon_plus"] for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    whole = datasets.load_z_jets(n=storage.manifest()["z_jets"]["events"], seed=2)
    assert len(whole["n_jets"]) == 150_000


def test_labels_are_balanced_and_mixed():
    jets = datasets.load_top_jets(n=501, seed=3)
    assert jets["label"].sum() == 250 and 80 < jets["label"][:251].sum() < 170
    assert jets["constituents"].shape == (501, 80, 4) and jets["relative"].dtype == torch.float32
    assert len(datasets.load_quark_gluon_jets(n=1)) == 1


def test_momenta_are_those_of_the_relative_columns():
    jets = datasets.load_top_jets(n=300)
    momenta, relative, jet = jets["constituents"], jets["relative"], jets["jet"]
    there = relative[..., 0] > 0
    assert torch.allclose(kinematics.pt(momenta)[there], relative[..., 0][there], rtol=1e-3)
    delta = kinematics.delta_phi(kinematics.phi(momenta), jet[:, None, 2].expand(there.shape))
    assert (delta - relative[..., 2])[there].abs().max() < 1e-3
    assert (momenta[~there] == 0).all()


def test_images_hold_the_jet_at_both_resolutions():
    images, jets = datasets.load_jet_images(n=400, seed=2), datasets.load_top_jets(n=400, seed=2)
    assert torch.allclose(images["fine"].sum((1, 2)), images["coarse"].sum((1, 2)), rtol=1e-4)
    inside = (jets["relative"][..., 1:].abs() < 0.8).all(-1)
    assert torch.allclose(images["fine"].sum((1, 2)), (jets["relative"][..., 0] * inside).sum(1), rtol=1e-4)
    centre = images["coarse"][:, 2:6, 2:6].sum((1, 2)) / images["coarse"].sum((1, 2))
    assert centre.mean() > 0.8
    with pytest.raises(ValueError, match="does not divide"):
        datasets.load_jet_images(n=10, pixels=(40, 7))


@pytest.mark.parametrize("wrong", [0, -5, 2.5, True, "many"])
def test_wrong_number_of_events(wrong):
    with pytest.raises(ValueError, match="n must be an integer >= 1"):
        datasets.load_z_jets(n=wrong)


def test_unknown_selection():
    with pytest.raises(ValueError, match="'hard' or 'soft'"):
        datasets.load_jet_multiplicity("medium")


def test_more_than_committed_without_pythia(monkeypatch, tmp_path):
    monkeypatch.setenv("LHCML_CACHE", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "pythia8mc", None)
    with pytest.raises(ImportError, match="simulation"):
        datasets.load_z_jets(n=150_001)


# ------------------------------------------------------------------------------------- Z + jets in two tunes, to unfold


@pytest.fixture(scope="module")
def tunes():
    return {tune: datasets.load_z_jets_unfolding(tune, n=20_000) for tune in ("monash", "a14")}


def test_jets_to_unfold_are_what_their_observables_say(tunes):
    assert min(storage.manifest()[f"z_jets_unfolding_{tune}"]["events"] for tune in tunes) >= 50_000
    for events in tunes.values():
        for level in ("gen", "sim"):
            o = {name.removeprefix(f"{level}_"): c.double() for name, c in events.columns.items() if level in name}
            assert o["pt"].min() > 29.99 and o["multiplicity"].min() >= 1
            assert (o["groomed_mass"] <= o["mass"] * 1.001).all()  # dropping particles does not add mass
            dropped = o["z_g"] == 0
            assert (
                (o["z_g"][~dropped] > 0.0999) & (o["z_g"] <= 0.5001)[~dropped]
            ).all() and dropped.double().mean() < 0.05
            assert (o["width"] <= o["angularity"] * 1.001).all()  # as Delta R < R
            assert (o["width"] > 0).double().mean() > 0.999 and o["angularity"].max() < 1
            assert (o["tau_2"] <= 1.25 * o["width"]).double().mean() > 0.99  # two axes are closer than one
            # m^2 = sum_ij pT_i pT_j Delta R_ij^2 / 2 and the width agree on what is narrow
            assert (
                np.corrcoef((o["mass"] / o["pt"]).clamp(min=1e-4).log(), o["width"].clamp(min=1e-4).log())[0, 1] > 0.8
            )


def test_the_detector_smears_and_loses_particles(tunes):
    events = tunes["monash"]
    response = events["sim_pt"] / events["gen_pt"]
    same = (response - 1).abs() < 0.5  # otherwise another jet was the hardest in the detector
    assert same.float().mean() > 0.97
    assert abs(response[same].median().item() - 1) < 0.02 and 0.02 < response[same].std() < 0.12
    assert 0.7 < (events["sim_multiplicity"].mean() / events["gen_multiplicity"].mean()).item() < 0.95


def test_less_radiation_makes_narrower_jets(tunes):
    """alpha_s of the shower is 0.111 in one tune, 0.1365 in the other."""
    a, b = (tunes[tune] for tune in ("a14", "monash"))
    for name in ("multiplicity", "width", "mass"):
        for level in ("gen", "sim"):
            ratio = (a[f"{level}_{name}"].mean() / b[f"{level}_{name}"].mean()).item()
            assert 0.75 < ratio < 0.97, name
    assert abs(a["gen_z_g"].mean() / b["gen_z_g"].mean() - 1) < 0.05  # the splitting function has no alpha_s


def test_hardness_of_the_jets_to_unfold_does_not_pile_up_at_its_edge():
    engine = pythia.start(Z_UNFOLDING_RECIPES["z_jets_unfolding_monash"].settings, seed=5)
    hat = []
    for _ in range(4):
        batch = engine.nextBatch(250)
        record, _ = particles(batch)
        z = record[record.id == 23][:, -1]
        hat.append(np.sqrt(to_numpy(batch.info.pT2Hat))[to_numpy(within(z, 200.0, 20.0))])
    hat = np.concatenate(hat)
    assert len(hat) > 250 and np.mean(hat < 160) < 0.03 < np.mean((hat > 190) & (hat < 200))
