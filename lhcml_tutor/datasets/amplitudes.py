"""Exact amplitudes at phase-space points: the training data of the regression chapters, made on the spot."""

import math

import numpy as np
import torch

from .. import kinematics
from ..physics.amplitudes import qqbar_to_z_gluons
from ..physics.diphoton import gg_to_gamma_gamma
from ..physics.gluons import gluons
from ..physics.phase_space import rambo
from .columns import whole_number
from .events import Events
from .storage import cached

MASS_Z = 91.1876  # GeV
MASSLESS = {  # outgoing particles without mass; a Z goes before them where quarks come in
    **{"qqbar_z" + "g" * n: n for n in (1, 2, 3, 4)},
    **{"gg_" + "g" * n: n for n in (2, 3, 4)},
    "gg_aa": 2,
}
MIN_PT = 30.0  # GeV, of each massless particle
MIN_DELTA_R = 0.4  # between two of them
POINTS = 2**12  # phase-space points thrown at a time; each such batch has a seed of its own


def load_amplitudes(process="qqbar_zgg", n=100_000, seed=1, energy=(300.0, 2000.0)):
    """Return n phase-space points of q qbar -> Z + gluons, g g -> gluons or g g -> 2 photons with their exact |M|^2.

        sigma [GeV^-2] = sum weight amplitude / (colours * 2 s) / points_thrown,    averaged over log sqrt(s)

    with colours = 36 for two quarks, 256 for two gluons, all couplings one; divide by k! for k identical particles.

    The sample is weighted, not unweighted: at each energy the points are spread evenly over phase space, as RAMBO
    throws them. A network that replaces |M|^2 must be right everywhere, also where few events would fall; an
    unweighted sample would hold almost nothing but soft and collinear gluons. Cross sections follow from the weights.

    - sqrt(s) is drawn evenly in its logarithm from `energy`; the quark or first gluon flies along +z, the other along
      -z, in the centre-of-mass frame.
    - Cuts keep away from the divergences: all massless outgoing particles with pT > 30 GeV (so |eta| < 4.2 at 2 TeV),
      Delta R > 0.4 between any two of them.
    - amplitude: summed over spins and colours, full colour, all couplings one, the Z couples to gamma^mu to either
      helicity; see `physics.amplitudes`, `physics.gluons` and `physics.diphoton`.
    - Gluons alone also have `amplitude_leading`, without what is small in 1 / N_c^2.
    - The first events of a large sample are those of a small one with the same seed. Samples are kept in the cache.

    Arguments:
        process: "qqbar_zg", "qqbar_zgg", "qqbar_zggg", "qqbar_zgggg", "gg_gg", "gg_ggg", "gg_gggg" or "gg_aa".
        energy: lowest and highest sqrt(s) [GeV].
    Shapes:
        momenta (n, legs, 4): two incoming, then Z, gluons or photons [GeV]; amplitude (n,) [1, GeV^-2, ...];
        weight (n,): phase-space weight [1, GeV^2, ...]; all float64. provenance["points_thrown"]: before cuts.
    Raises:
        ValueError: an unknown process, n < 1, a seed that is no integer >= 0, energies too low for the cuts.
    Example:
        >>> events = load_amplitudes("qqbar_zg", n=1000, seed=1)         # doctest: +ELLIPSIS
        sample amplitudes_qqbar_zg: ...
        >>> events["momenta"].shape, events.units["amplitude"]
        (torch.Size([1000, 4, 4]), '1')
    """
    process, n, seed, energy = _checked(process, n, seed, energy)
    return cached(f"amplitudes_{process}", make_amplitudes, process=process, n=n, seed=seed, energy=energy)


def make_amplitudes(process, n, seed, energy=(300.0, 2000.0)):
    """Make the sample of `load_amplitudes` anew, past the cache and without a word.

    Shapes:
        as in `load_amplitudes`
    Example:
        >>> make_amplitudes("qqbar_zgg", n=10, seed=1)
        Events(10 events: momenta (n, 5, 4) GeV, amplitude (n,) GeV^-2, weight (n,) GeV^2)
    """
    batches, found, thrown = [], 0, 0
    while found < n:
        momenta, weight, place = _accepted(process, energy, seed, batch=len(batches))
        found += len(momenta)
        if not found:
            raise ValueError(f"no event at {energy} GeV has particles of pT > {MIN_PT:g} GeV; raise the energy")
        surplus = max(found - n, 0)
        thrown += POINTS if not surplus else int(place[-1 - surplus]) + 1
        batches.append({"momenta": momenta, **_amplitudes(process, momenta), "weight": weight})
    columns = {name: torch.cat([batch[name] for batch in batches])[:n] for name in batches[0]}
    power = 2 * (columns["momenta"].shape[1] - 4)  # of the phase space, in GeV; the amplitude has the opposite one
    inverse, plain = (f"GeV^{sign * power}" if power else "1" for sign in (-1, 1))
    units = dict.fromkeys(columns, inverse) | {"momenta": "GeV", "weight": plain}
    provenance = {
        "process": process, "seed": seed, "energy": list(energy), "points_thrown": thrown,
        "generator": "lhcml_tutor.physics: RAMBO phase space, exact amplitude in full colour",
        "min_pt": MIN_PT, "min_delta_r": MIN_DELTA_R, "mass_z": MASS_Z,
    }  # fmt: skip
    return Events(columns, units, provenance)


def _amplitudes(process, momenta):
    if process == "gg_aa":
        return {"amplitude": gg_to_gamma_gamma(momenta)}
    if process.startswith("gg_"):
        return dict(zip(("amplitude", "amplitude_leading"), gluons(momenta, "both").unbind(-1)))
    return {"amplitude": qqbar_to_z_gluons(momenta)}


def _accepted(process, energy, seed, batch):
    """Throw one batch of phase-space points; return those that pass the cuts, their weights and their places in it."""
    state = np.random.SeedSequence([seed, batch]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> 1))
    low, high = map(math.log, energy)
    root_s = torch.exp(low + (high - low) * torch.rand(POINTS, dtype=torch.float64, generator=generator))
    masses = [MASS_Z] * process.startswith("qqbar") + [0.0] * MASSLESS[process]
    final, weight = rambo(len(masses), masses, root_s, POINTS, generator)
    keep = _passes(final[:, -MASSLESS[process] :])
    zero, beam = torch.zeros_like(root_s[keep]), root_s[keep] / 2
    quark, antiquark = torch.stack([beam, zero, zero, beam], -1), torch.stack([beam, zero, zero, -beam], -1)
    momenta = torch.cat([quark[:, None], antiquark[:, None], final[keep]], dim=1)
    return momenta, weight[keep], keep.nonzero()[:, 0]


def _passes(massless):
    """Tell which events pass the cuts on their massless particles (n, particles, 4)."""
    keep = (kinematics.pt(massless) > MIN_PT).all(-1)
    for i in range(massless.shape[1]):
        for j in range(i):
            keep &= kinematics.delta_r(massless[:, i], massless[:, j]) > MIN_DELTA_R
    return keep


def _checked(process, n, seed, energy):
    """Return the arguments as plain numbers (they name the file in the cache), or say what is wrong with them."""
    if process not in MASSLESS:
        raise ValueError(f"there is no process {process!r}; the processes are: {', '.join(MASSLESS)}")
    n, seed = whole_number("n", n, 1), whole_number("seed", seed, 0)
    try:
        low, high = map(float, energy)
    except TypeError:
        low = high = math.nan
    if not MASS_Z < low <= high < math.inf:
        raise ValueError(f"energy={energy} must be (lowest, highest) sqrt(s) in GeV, above {MASS_Z} GeV")
    return process, n, seed, (low, high)
