"""Each sample of Pythia: how many events a second one core makes and keeps, its size, and what checks its physics.

python benchmarks/samples.py [NAME ...]

Every event is generated, clustered and, where the sample has one, sent through the detector; the start of Pythia, a
second or a few, is not counted.
"""

import sys
import time

import torch

from lhcml_tutor.datasets import pythia_samples, registry, storage
from lhcml_tutor.physics import pythia

TRIES = 2000
CHECKS = {
    "z_mumu": "Z mass and radiated fraction (tutorial 00), charges balance, all muons from a Z",
    "ttbar": "W and top masses and widths, momentum, each parton once",
    "jets": "cuts, spectrum, mean constituents",
    "z_jets": "cuts, Z peak and width, exclusive and ordered jets, balance in pT",
    "jet_multiplicity_hard": "R(n+1)/R(n) falls",
    "jet_multiplicity_soft": "R(n+1)/R(n) stays",
    "top_jets_top": "constituents add up, mass 173 GeV, trees against the mass alone",
    "top_jets_qcd": "the same; pTHat does not pile up at its edge",
    "quark_gluon_jets_quark": "constituents add up, charges by identity",
    "quark_gluon_jets_gluon": "the same; 1.3 to 2.25 times as many constituents as quarks",
    "ttbar_jets": "W and top masses, jets apart from the partons",
    "zw_unfolding": "W and Z masses at three levels, matching, resolution",
    "w_prime_unfolding": "mass of 600 GeV at three levels",
    "z_jets_unfolding_monash": "levels agree, gen_ from another code, pTHat at its edge",
    "z_jets_unfolding_a14": "the same; differs from monash in multiplicity and width",
}


def rate(name):
    """Return kept events per second, and the part that is kept."""
    recipe = (pythia.RECIPES | pythia_samples.RECIPES)[name]
    start = time.perf_counter()
    pythia.start(recipe.settings, seed=1)
    setup = time.perf_counter() - start
    start = time.perf_counter()
    columns = pythia.make_tries(recipe, TRIES, seed=1)
    kept = len(next(iter(columns.values())))
    return kept / (time.perf_counter() - start - setup), kept / TRIES


if __name__ == "__main__":
    torch.set_num_threads(1)
    known = storage.manifest()
    print("| sample | kept | events/s/core | committed | MB | physics that is checked |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    for name in sys.argv[1:] or [name for name in registry.SAMPLES if name in CHECKS]:
        speed, kept = rate(name)
        entry = known.get(name, {"events": 0, "bytes": 0})
        size = f"{entry['events']:,} | {entry['bytes'] / 1e6:.2f}"
        print(f"| {name} | {kept:.1%} | {speed:,.0f} | {size} | {CHECKS[name]} |", flush=True)
