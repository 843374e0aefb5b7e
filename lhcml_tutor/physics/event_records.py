"""Records of generated events as arrays: what all recipes of Pythia's samples begin with."""

import numpy as np

from ..extras import require


def to_numpy(array):
    """Return an awkward array in which all events have the same shape as a plain one."""
    return require("awkward", "simulation").to_numpy(array, allow_missing=False)


def four_momenta(p):
    """Return records px, py, pz, E as an array (..., 4) of (E, px, py, pz)."""
    return np.stack([to_numpy(p[name]) for name in ("E", "px", "py", "pz")], axis=-1)


def particles(batch):
    """Return the record of each event with flat names, and which of its entries are final and visible."""
    ak = require("awkward", "simulation")
    p = batch.prt
    fields = {"px": p.p.px, "py": p.p.py, "pz": p.p.pz, "E": p.p.e, "id": p.id, "mother": p.mother1}
    record = ak.zip({**fields, "row": ak.local_index(p.id, axis=1)})
    kind = abs(p.id)
    return record, (p.status > 0) & (kind != 12) & (kind != 14) & (kind != 16)


def within(p, pt_min, eta_max):
    """Tell which records px, py, pz have pT above pt_min [GeV] and |eta| below eta_max."""
    pt = np.hypot(p.px, p.py)
    return (pt > pt_min) & (abs(p.pz) < np.sinh(eta_max) * pt)


def padded(values, width):
    """Return awkward values (n, var) as an array (n, width), zeros where there are fewer."""
    ak = require("awkward", "simulation")
    return to_numpy(ak.fill_none(ak.pad_none(values, width, axis=1, clip=True), 0))


def turn(phi):
    """Return differences of azimuths in -pi ... pi."""
    return (phi + np.pi) % (2 * np.pi) - np.pi
