"""Tutorial 03b: what it builds by hand equals the package's, and its exact posterior is one."""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from by_hand import defined_in

from lhcml_tutor import calibration, likelihoods
from lhcml_tutor.physics.response import log_response, topo_clusters

DEFINED = ("log_posterior", "bin_of", "Mixture", "log_likelihood", "probability_below", "quantile", "split", "closure",
           "resolution", "mixture_of")  # fmt: skip
LEVELS = (0.15865, 0.5, 0.84135)


def by_hand():
    given = {"NamedTuple": NamedTuple, "np": np, "pairwise": pairwise, "log_response": log_response, "LEVELS": LEVELS}
    return defined_in("03b", DEFINED, **given)


def mixture(n=200, components=3):
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(n, 3 * components, dtype=torch.float64, generator=generator)
    return by_hand()["mixture_of"](outputs), torch.randn(n, dtype=torch.float64, generator=generator), outputs


def test_the_mixture_by_hand_is_the_package_s():
    tools, (own, value, outputs) = by_hand(), mixture()
    parts = (*outputs.chunk(3, dim=1), value[:, None])
    log_p, below = (function(*parts).flatten() for function in (likelihoods.mixture_log_prob, likelihoods.mixture_cdf))
    torch.testing.assert_close(tools["log_likelihood"](own, value), log_p)
    torch.testing.assert_close(tools["probability_below"](own, value), below)


def test_the_quantile_is_where_its_probability_is_below():
    tools, (own, _, _) = by_hand(), mixture()
    for level in LEVELS:
        found = tools["probability_below"](own, tools["quantile"](own, level))
        torch.testing.assert_close(found, torch.full_like(found, level), rtol=0, atol=1e-5)


def test_the_split_by_hand_is_the_package_s():
    means, sigmas = torch.randn(2, 20, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    statistical, systematic, total = by_hand()["split"](means, sigmas.exp())
    package = calibration.split_uncertainty(means, sigmas.exp())
    torch.testing.assert_close(statistical, torch.as_tensor(package.statistical))
    torch.testing.assert_close(systematic, torch.as_tensor(package.systematic))
    torch.testing.assert_close(total, torch.as_tensor(package.total))


def test_the_posterior_is_calibrated_where_the_network_s_would_have_to_be():
    """u of the exact posterior is uniform over clusters drawn from the prior; with half the width it is not."""
    clusters = topo_clusters(4000, torch.Generator().manual_seed(5))
    points = 1500
    step = math.log(1000) / points
    grid = step * (torch.arange(points, dtype=torch.float64) + 0.5)
    seen = [clusters[name] for name in ("measured", "rapidity", "electromagnetic_fraction", "pile_up_density")]
    density = by_hand()["log_posterior"](*seen, grid).exp() * step
    torch.testing.assert_close(density.sum(1), torch.ones(4000, dtype=torch.float64))
    below = (density * (grid < clusters["energy"].log()[:, None])).sum(1)
    limit = 1.63 / math.sqrt(4000)  # of Kolmogorov and Smirnov at 1%
    uniform = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    assert (below.sort().values - uniform).abs().max() < limit
    narrow = torch.special.ndtr(2 * torch.special.ndtri(below.clamp(1e-9, 1 - 1e-9)))
    assert (narrow.sort().values - uniform).abs().max() > 2 * limit


def test_the_bins_of_the_table_are_numpy_s():
    edges, values = np.array([0.0, 1.0, 2.5, 4.0]), np.array([-3.0, 0.0, 0.99, 1.0, 2.6, 4.0, 9.0])
    assert by_hand()["bin_of"](values, edges).tolist() == [0, 0, 0, 1, 2, 2, 2]
