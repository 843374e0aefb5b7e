"""Each sample of Pythia: how many events a second one core makes and keeps, its size, and what checks its physics.

python benchmarks/samples.py [NAME ...]

Every event is generated, clustered and, where the sample has one, sent through the detector; the start of Pythia, a
second or a few, is not counted.
"""

import contextlib
import io
import sys
import time

import torch

from lhcml_tutor import datasets
from lhcml_tutor.datasets import pythia_samples, registry, storage, top_samples
from lhcml_tutor.physics import pythia

TRIES = 2000
MANY = {"ttbar": 20_000}  # without showers 2000 are over before they can be timed
CHECKS = {
    "z_mumu": "mass and width of the Z, photons, recoil against jets",
    "ttbar": "masses and widths of W and top, momentum, decays in the record",
    "jets": "cuts, pTHat is not cut off",
    "z_jets": "cuts, Z peak, exclusive, ordered and separate jets, balance in pT",
    "jet_multiplicity_hard": "R(n+1)/R(n) falls",
    "jet_multiplicity_soft": "R(n+1)/R(n) stays",
    "top_jets_top": "constituents add up, top mass, trees on the mass against all observables",
    "top_jets_qcd": "the same, mass falls, pTHat is not cut off",
    "quark_gluon_jets_quark": "constituents add up, identities and charges",
    "quark_gluon_jets_gluon": "the same, 1.3 to 2.25 times the constituents of quarks, wider, heavier",
    "ttbar_jets": "recoil of the tops, order and distance of jets",
    "zw_unfolding": "W and Z masses at three levels, quarks find their jets, cuts",
    "w_prime_unfolding": "a peak at 600 GeV at three levels",
    "z_jets_unfolding_monash": "relations of the observables, response, pTHat is not cut off",
    "z_jets_unfolding_a14": "the same, narrower jets than monash, the same z_g",
}
OWN = {  # made by the course's own code
    "thj": (lambda: top_samples.make_thj(2000, 0.0, seed=1), 2000, "decays, spin correlations, exact density"),
    "ttbar on-shell": (lambda: datasets.load_ttbar(10_000, masses="on-shell"), 10_000, "masses, momenta of the twins"),
    "jet_images": (lambda: datasets.load_jet_images(10_000), 10_000, "both resolutions hold the whole jet"),
    "toy_shower": (lambda: datasets.load_toy_shower(20_000), 20_000, "exact likelihood against histograms, Casimir"),
    "calorimeter_clusters": (lambda: datasets.load_calorimeter_clusters(200_000), 200_000, "response as asked"),
    "toys": (lambda: datasets.load_toy("camel", 200_000), 200_000, "density against samples and integrals"),
}


def rate(name):
    """Return kept events per second, and the part that is kept."""
    recipe, tries = (pythia.RECIPES | pythia_samples.RECIPES)[name], MANY.get(name, TRIES)
    start = time.perf_counter()
    pythia.start(recipe.settings, seed=1)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    columns = pythia.make_tries(recipe, tries, seed=1)
    kept = len(next(iter(columns.values())))
    return kept / (time.perf_counter() - start - setup), kept / tries


if __name__ == "__main__":
    torch.set_num_threads(1)
    known = storage.manifest()
    wanted = sys.argv[1:] or [*CHECKS, *OWN]
    print("| sample | kept | events/s/core | committed | MB | physics that is checked |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for name in (name for name in registry.SAMPLES if name in wanted):
        speed, kept = rate(name)
        entry = known.get(name, {"events": 0, "bytes": 0})
        size = f"{entry['events']:,} | {entry['bytes'] / 1e6:.2f}"
        print(f"| {name} | {kept:.1%} | {speed:,.0f} | {size} | {CHECKS[name]} |", flush=True)
    for name in (name for name in OWN if name in wanted):
        make, n, checks = OWN[name]
        with contextlib.redirect_stdout(io.StringIO()):
            make()
            start = time.perf_counter()
            make()
        print(f"| {name} | | {n / (time.perf_counter() - start):,.0f} | made on the spot | | {checks} |", flush=True)
