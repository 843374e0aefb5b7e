"""Each matrix element: its speed on one thread, and how far it is from an independent value.

python benchmarks/matrix_elements.py

The independent values are those of the tests; here they are put side by side once more.
"""

import itertools
import math
import time

import torch

from lhcml_tutor import kinematics
from lhcml_tutor.physics.amplitudes import estimate_z_gluons, qqbar_to_z_gluons, transverse_polarisations
from lhcml_tutor.physics.constants import HIGGS_MASS, TOP_MASS
from lhcml_tutor.physics.diphoton import gg_to_gamma_gamma
from lhcml_tutor.physics.drell_yan import DrellYan, drell_yan
from lhcml_tutor.physics.gluons import gluons
from lhcml_tutor.physics.hard_processes import TopHiggsJet, ZGluons
from lhcml_tutor.physics.phase_space import rambo
from lhcml_tutor.physics.single_top_higgs import bq_to_thq

MASS_Z, ENERGY = 91.1876, 1000.0


def points(masses, n):
    final, _ = rambo(len(masses), masses, ENERGY, n, torch.Generator().manual_seed(1))
    beams = torch.tensor([[0.5, 0, 0, 0.5], [0.5, 0, 0, -0.5]], dtype=torch.float64) * ENERGY
    return torch.cat([beams.expand(n, 2, 4), final], 1)


def speed(function, momenta):
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        function(momenta)
        best = min(best, time.perf_counter() - start)
    return len(momenta) / best


def off(value, truth):
    return f"{(value / truth - 1).abs().max().item():.0e}"


def gauge(function, momenta, first):
    vectors = transverse_polarisations(momenta[:, first:])
    vectors[:, 0] = (momenta[:, first] / momenta[:, first, :1])[:, None]
    return f"{(function(momenta, vectors) / function(momenta)).abs().max().item():.0e}"


def boosted(function, momenta):
    lorentz = kinematics.random_lorentz(len(momenta), torch.Generator().manual_seed(2), max_rapidity=1.5)
    return off(function(kinematics.transform(lorentz, momenta)), function(momenta))


def table():
    for n, points_timed in ((1, 60_000), (2, 20_000), (3, 6000), (4, 1000)):
        few, many = points([MASS_Z] + [0.0] * n, 50), points([MASS_Z] + [0.0] * n, points_timed)
        if n == 1:
            s, t, u = kinematics.mandelstam(few)
            yield (
                "q qbar -> Z g",
                "32 (t^2 + u^2 + 2 s m^2) / (t u)",
                off(qqbar_to_z_gluons(few), 32 * (t**2 + u**2 + 2 * s * MASS_Z**2) / (t * u)),
                speed(qqbar_to_z_gluons, many),
            )
        else:
            yield (
                f"q qbar -> Z {n}g",
                "gauge: momentum for polarisation",
                gauge(lambda p, e=None: qqbar_to_z_gluons(p, e), few, 3),
                speed(qqbar_to_z_gluons, many),
            )
    generator = torch.Generator().manual_seed(3)
    for n, points_timed in ((3, 20_000), (4, 4000)):
        event = points([MASS_Z] + [0.0] * n, 1)
        draws = estimate_z_gluons(event.expand(20_000, n + 3, 4), generator) / qqbar_to_z_gluons(event)
        yield (
            f"q qbar -> Z {n}g, one draw",
            "mean over the exact value, 20,000 draws",
            (f"{draws.mean().item() - 1:+.3f} +- {draws.std().item() / 20_000**0.5:.3f}"),
            speed(lambda p: estimate_z_gluons(p, generator), points([MASS_Z] + [0.0] * n, points_timed)),
        )
    for n, points_timed in ((2, 60_000), (3, 10_000), (4, 1500)):
        few, many = points([0.0] * n, 50), points([0.0] * n, points_timed)
        if n == 2:
            s, t, u = kinematics.mandelstam(few)
            check = (
                "1152 (3 - tu/s^2 - su/t^2 - st/u^2)",
                off(gluons(few), 1152 * (3 - t * u / s**2 - s * u / t**2 - s * t / u**2)),
            )
        elif n == 3:
            check = "Parke and Taylor", off(gluons(few), parke_taylor(few))
        else:
            check = "Bose symmetry of first and last gluon", off(gluons(few[:, [1, 0, 5, 3, 4, 2]]), gluons(few))
        yield f"g g -> {n}g", *check, speed(gluons, many)
    few = points([0.0, 0.0], 1000)
    yield (
        "g g -> gamma gamma, one loop",
        "exchange of photons (cut: see the test)",
        off(gg_to_gamma_gamma(few[:, [0, 1, 3, 2]]), gg_to_gamma_gamma(few)),
        speed(gg_to_gamma_gamma, points([0.0, 0.0], 1_000_000)),
    )
    few = points([TOP_MASS, HIGGS_MASS, 0.0], 200)
    yield (
        "b q -> t H q'",
        "boosts (Dirac traces: see the test)",
        boosted(lambda p: bq_to_thq(p, 0.7), few),
        speed(lambda p: bq_to_thq(p, 0.7), points([TOP_MASS, HIGGS_MASS, 0.0], 200_000)),
    )
    few = points([0.0, 0.0], 200)
    yield (
        "q qbar -> photon, Z -> l l",
        "boosts (Dirac traces: see the test)",
        boosted(drell_yan, few),
        speed(drell_yan, points([0.0, 0.0], 500_000)),
    )


def parke_taylor(momenta):
    k = torch.cat([-momenta[:, :2], momenta[:, 2:]], 1)
    s, n = 2 * kinematics.dot(k[:, :, None], k[:, None]), momenta.shape[1]
    numerator = sum(s[:, i, j] ** 4 for i, j in itertools.combinations(range(n), 2))
    circles = (zip((0, *w), (*w, 0)) for w in itertools.permutations(range(1, n)))
    return 2 * 3 ** (n - 2) * 8 * numerator * sum(1 / math.prod(s[:, a, b] for a, b in circle) for circle in circles)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("| matrix element | independent check | largest deviation | points/s, one thread |")
    print("| --- | --- | ---: | ---: |")
    for name, check, deviation, rate in table():
        print(f"| {name} | {check} | {deviation} | {rate:,.0f} |", flush=True)
    print("\n| events from protons | cross section [pb] | unweighting | events/s, one thread |")
    print("| --- | ---: | ---: | ---: |")
    for name, process in (
        ("Drell-Yan, 60-120 GeV", DrellYan()), ("Z g", ZGluons(1)), ("Z gg", ZGluons(2)),
        ("t H q, angle 0", TopHiggsJet(0.0)), ("t H q, angle pi", TopHiggsJet(math.pi)),
    ):  # fmt: skip
        value, error = process.cross_section
        n = 100 if "t H q" in name else 2000
        efficiency = process.efficiency
        start = time.perf_counter()
        process.sample(n, torch.Generator().manual_seed(3))
        rate = n / (time.perf_counter() - start)
        print(f"| {name} | {value:.4g} +- {error:.1g} | {efficiency:.2%} | {rate:,.0f} |", flush=True)
