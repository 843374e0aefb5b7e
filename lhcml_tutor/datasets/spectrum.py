"""Samples in closed form, made in no time: they show how shards work, and test it."""

import numpy as np

from .events import Events


def make_spectrum(tries, seed, slope=30.0, threshold=20.0):
    """Return those of `tries` events of a falling spectrum that pass pt > threshold; None where none passes.

        p(pt) = exp(-pt / slope) / slope,    a fraction exp(-threshold / slope) passes

    Arguments:
        slope, threshold: [GeV].
    Shapes:
        pt (n,) [GeV], phi (n,) [rad], float32
    Raises:
        ValueError: slope <= 0.
    Example:
        >>> make_spectrum(1000, seed=1)
        Events(5... events: pt (n,) GeV, phi (n,) rad)
    """
    if not 0 < slope < np.inf:
        raise ValueError(f"slope = {slope} GeV; it must be above 0")
    random = np.random.default_rng(np.random.SeedSequence(seed))
    pt, phi = random.exponential(slope, tries), random.uniform(-np.pi, np.pi, tries)
    keep = pt > threshold
    if not keep.any():
        return None
    columns = {"pt": pt[keep].astype(np.float32), "phi": phi[keep].astype(np.float32)}
    what = "falling spectrum exp(-pt / slope), azimuth even; pt > threshold"
    return Events(columns, {"pt": "GeV", "phi": "rad"}, {"what": what, "generator": "numpy", "seed": seed})
