"""Invertible maps between events and what a network likes to see, each with its Jacobian.

    z, log_det = bijection(x, condition)            log_det = log|det dz/dx|, one number per event
    x, log_det = bijection.inverse(z, condition)    log_det = log|det dx/dz|, minus the other at the same point

This is the only place where the sign is fixed: the density of the events follows from the density of z as

    log p(x) = log p(z) + log_det,      z, log_det = bijection(x)

so that a density stays right in GeV, whatever was done to x before. Each works on the last axis of (n, d).
"""

from .charts import Polar, Quantile
from .couplings import AffineCoupling, Permute, SplineCoupling
from .maps import Compose, Logit, LogShift, OnColumns, Standardise
from .splines import rational_quadratic, spline_knots
from .z_jet_features import (
    Z_JETS_PRESENT,
    beyond_muon_cut,
    mirror_images,
    z_jet_features,
    z_jet_momenta,
)
from .z_jets import ZJetCoordinates

__all__ = [
    "Z_JETS_PRESENT",
    "AffineCoupling",
    "Compose",
    "LogShift",
    "Logit",
    "OnColumns",
    "Permute",
    "Polar",
    "Quantile",
    "SplineCoupling",
    "Standardise",
    "ZJetCoordinates",
    "beyond_muon_cut",
    "mirror_images",
    "rational_quadratic",
    "spline_knots",
    "z_jet_features",
    "z_jet_momenta",
]
