"""Jets: particles that flew close together, clustered for a whole batch of events at once (extra `simulation`)."""

from ..extras import require


def cluster(particles, radius=0.4, pt_min=20.0):
    """Return the anti-kT jets of each event, hardest first, and which particles each jet holds.

        d_ij = min(1/pT_i^2, 1/pT_j^2) Delta R_ij^2 / R^2,      d_iB = 1/pT_i^2

    Arguments:
        particles: awkward array of events of records px, py, pz, E [GeV].
        radius: R; pt_min: jets below are left out [GeV].
    Shapes:
        particles (n, var) -> jets (n, var) of records px, py, pz, E with vector's behaviours (.pt, .eta, .mass), and
        indices (n, var, var) into the particles of the event
    Reference: Cacciari, Salam, Soyez 2008, arXiv:0802.1189.
    Raises:
        MissingExtra: fastjet, awkward or vector is not installed.
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
    momenta = ak.zip({name: particles[name] for name in ("px", "py", "pz", "E")}, with_name="Momentum4D")
    sequence = fastjet.ClusterSequence(momenta, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    jets, indices = sequence.inclusive_jets(pt_min), sequence.constituent_index(pt_min)
    jets = ak.zip({name: jets[name] for name in ("px", "py", "pz", "E")}, with_name="Momentum4D")
    order = ak.argsort(jets.pt, axis=1, ascending=False)
    return jets[order], indices[order]
