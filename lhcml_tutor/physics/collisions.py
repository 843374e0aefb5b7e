"""Proton collisions at leading order whose events can be drawn, and whose density can be asked for, exactly.

    process = DrellYan(mass=(60, 120), pt_min=20)        # or ZGluons, TopHiggsJet of hard_processes.py
    momenta = process.sample(10_000, generator)          # unweighted events in the laboratory
    process.log_density(momenta)                         # of their coordinates, normalised inside the cuts

A process says how it throws points (`weighted`) and what the cross section of one is (`density`); the rest is here.
"""

from functools import cached_property

import torch

PICOBARN = 0.3893794e9  # 1/GeV^2 in picobarn
POINTS = 2**17  # that the cross section and the largest weight are found with


class Collisions:
    """What all processes share: cross section, unweighting and the normalised density."""

    points = POINTS

    def weighted(self, n, generator):
        """Return n points (n, particles, 4) and weights (n,) [pb]; mean(weights) = cross section inside the cuts."""
        raise NotImplementedError

    def density(self, momenta):
        """Return d sigma / d coordinates [pb / their units] of events, zero outside the cuts."""
        raise NotImplementedError

    @cached_property
    def cross_section(self):
        """The cross section inside the cuts and its statistical error [pb]."""
        _, weights = self.weighted(self.points, torch.Generator().manual_seed(1))
        return float(weights.mean()), float(weights.std() / len(weights) ** 0.5)

    @cached_property
    def largest_weight(self):
        """The weight [pb] above which 0.1% of the cross section lies; events are accepted in proportion to it."""
        _, weights = self.weighted(self.points, torch.Generator().manual_seed(2))
        weights = weights.sort(descending=True).values
        place = torch.arange(1, len(weights) + 1).to(weights)
        above = weights.cumsum(0) - weights * place  # what lies above each weight
        return float(weights[(above <= 1e-3 * weights.sum()).sum() - 1])

    @property
    def efficiency(self):
        """The part of all points that `sample` keeps."""
        return self.cross_section[0] / self.largest_weight

    def log_density(self, momenta):
        """Return log of the density of the coordinates, which integrates to one inside the cuts.

        Shapes:
            momenta (n, particles, 4) in the laboratory [GeV] -> (n,); -inf outside the cuts
        """
        return (self.density(momenta) / self.cross_section[0]).log()

    def sample(self, n, generator):
        """Return n unweighted events (n, particles, 4) inside the cuts, by hit-or-miss.

        Points above `largest_weight` count once: 0.1% of the cross section is missing there.
        """
        kept, missing = [], n
        while missing > 0:
            momenta, weights = self.weighted(int(min(1.2 * missing / self.efficiency + 1000, 200_000)), generator)
            u = torch.rand(len(weights), dtype=torch.float64, generator=generator, device=weights.device)
            kept.append(momenta[u * self.largest_weight < weights][:missing])
            missing -= len(kept[-1])
        return torch.cat(kept)
