"""Jets: particles that flew close together, clustered for a whole batch of events at once.

    jets, indices = cluster(particles)             # from events to jets, by fastjet (extra `simulation`)
    axes = subjets(constituents, n_subjets=2)      # from jets to their prongs

The second is written in torch and needs no extra.
"""

import math

from ..extras import require
from .recombination import by_portions, hardest, power_of, recombine


def cluster(particles, radius=0.4, pt_min=20.0, algorithm="anti-kt"):
    """Return the jets of each event, hardest first, and which particles each jet holds.

        d_ij = min(pT_i^2p, pT_j^2p) Delta R_ij^2 / R^2,      d_iB = pT_i^2p

    The pair with the smallest d_ij is merged until some d_iB is smaller still: then i is a jet. p = -1 (anti-kT) makes
    round jets, p = 0 (Cambridge/Aachen) goes by angle alone, p = 1 (kT) collects soft particles first.

    Arguments:
        particles: awkward array of events of records px, py, pz, E [GeV].
        radius: R; pt_min: jets below are left out [GeV]; algorithm: "anti-kt", "cambridge" or "kt".
    Shapes:
        particles (n, var) -> jets (n, var) of records px, py, pz, E with vector's behaviours (.pt, .eta, .mass), and
        indices (n, var, var) into the particles of the event
    Reference: Cacciari, Salam, Soyez 2008, arXiv:0802.1189; Cacciari, Salam, Soyez 2011, arXiv:1111.6097 (fastjet).
    Raises:
        MissingExtra: fastjet, awkward or vector is not installed.
        ValueError: an unknown algorithm, a radius that is not positive, momenta that are not finite.
    Example:
        >>> import awkward as ak
        >>> hard = {"px": [[100.0, 50.0, -150.0]], "py": [[0.0, 1.0, -1.0]], "pz": [[0.0, 0.0, 0.0]]}
        >>> event = ak.zip({name: ak.Array(values) for name, values in hard.items()})
        >>> event["E"] = (event.px**2 + event.py**2) ** 0.5
        >>> jets, indices = cluster(event)
        >>> [round(pt) for pt in jets.pt[0]], sorted(map(sorted, indices[0].tolist()))
        ([150, 150], [[0, 1], [2]])
    """
    ak, fastjet, vector = (require(name, "simulation") for name in ("awkward", "fastjet", "vector"))
    vector.register_awkward()
    power_of(algorithm)
    if not 0 < radius < math.inf:
        raise ValueError(f"the radius of jets must be positive, not {radius}")
    momenta = ak.zip({name: particles[name] for name in ("px", "py", "pz", "E")}, with_name="Momentum4D")
    if not all(ak.all(abs(momenta[name]) < math.inf) for name in ("px", "py", "pz", "E")):
        raise ValueError("particles hold NaN or infinity; leave out their events before clustering")
    method = getattr(fastjet, algorithm.replace("-", "") + "_algorithm")
    sequence = fastjet.ClusterSequence(momenta, fastjet.JetDefinition(method, radius))
    jets, indices = sequence.inclusive_jets(pt_min), sequence.constituent_index(pt_min)
    jets = ak.zip({name: jets[name] for name in ("px", "py", "pz", "E")}, with_name="Momentum4D")
    order = ak.argsort(jets.pt, axis=1, ascending=False)
    return jets[order], indices[order]


def subjets(momenta, n_subjets, algorithm="kt", winner_takes_all=False):
    """Return the prongs of jets: constituents are merged in pairs until n_subjets are left.

        d_ij = min(pT_i^2p, pT_j^2p) Delta R_ij^2,    p = 1 (kT) or p = 0 (Cambridge/Aachen)

    Merged momenta are added up; or the winner takes all: the pair flies on along its harder member with the sum of
    both pT, so that soft radiation at wide angles does not pull the axis.

    Arguments:
        momenta: constituents (E, px, py, pz) [GeV], zero-padded.
    Shapes:
        momenta (n, particles, 4) -> (n, n_subjets, 4), hardest first, zero where a jet has fewer constituents
    Raises:
        ValueError: a wrong shape, momenta that are not finite, n_subjets < 1, an algorithm other than the two.
    Example:
        >>> import torch
        >>> from lhcml_tutor import kinematics
        >>> jet = kinematics.from_pt_eta_phi_mass(torch.tensor([60.0, 30, 10]), torch.tensor([0.0, 0.5, 0.4]), 0.0, 0.0)
        >>> kinematics.pt(subjets(jet[None], 2)).round()
        tensor([[60., 40.]])

    Reference: Catani, Dokshitzer, Seymour, Webber 1993, Nucl. Phys. B 406, 187 (kT); Bertolini, Chan, Thaler 2013,
    arXiv:1310.7584 (winner takes all).
    """
    if n_subjets < 1:
        raise ValueError(f"n_subjets must be at least 1, not {n_subjets}")

    def of_portion(constituents):
        found = constituents.new_zeros(len(constituents), n_subjets, 4)
        for left, p, _ in recombine(constituents, algorithm, winner_takes_all):
            if left <= n_subjets:
                found[:, :left] = hardest(p, left)
                break
        return found.flatten(1)

    return by_portions(of_portion, momenta, 4 * n_subjets).unflatten(1, (n_subjets, 4))
