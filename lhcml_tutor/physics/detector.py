"""A detector: particles become tracks and towers, and these become the candidates of an energy flow.

    seen = detect(momenta, pdg_id, generator)
    seen["momenta"], seen["kind"], seen["charge"]           # (n, candidates, 4), (n, candidates), (n, candidates)

A simplification of the fast simulation Delphes 3 (arXiv:1307.6346) with the numbers of its ATLAS card: particles fly
straight from the origin, without magnetic field, material, showers that spread, leaks or pile-up; tracks point exactly.
"""

import math

import torch

from .. import kinematics

KINDS = ("padding", "charged hadron", "electron", "muon", "photon", "neutral hadron")  # what `kind` counts
ATLAS = {
    # Efficiencies above each pT of the edges, one row for each |eta|.
    "efficiency": {
        "charged hadron": ((0.70, 0.95, 0.95), (0.60, 0.85, 0.85)),
        "electron": ((0.73, 0.95, 0.99), (0.50, 0.83, 0.90)),
        "muon": ((0.75, 0.99, 0.99), (0.70, 0.98, 0.98)),
    },
    "efficiency_edges": {"pt": (0.1, 1.0, 100.0), "eta": (1.5, 2.5)},
    # Resolution of pT: sqrt(a^2 + (b pT)^2) with (a [GeV], b) for |eta| up to 0.5, 1.5 and 2.5.
    "track_resolution": {
        "charged hadron": ((0.06, 1.3e-3), (0.10, 1.7e-3), (0.25, 3.1e-3)),
        "electron": ((0.03, 1.3e-3), (0.05, 1.7e-3), (0.15, 3.1e-3)),
        "muon": ((0.01, 1.0e-4), (0.015, 1.5e-4), (0.025, 3.5e-4)),
    },
    "track_edges": (0.5, 1.5, 2.5),
    # Calorimeters. Towers: (largest |eta|, size in eta, number around the beam); the card has a few rings of other
    # sizes where these meet. Resolution of E: sqrt(a^2 E + (b E)^2 + c^2) with (|eta| up to, a [sqrt(GeV)], b,
    # c [GeV]). A tower is kept above energy_min [GeV] and above `significance` times its resolution.
    "electromagnetic": {
        "towers": ((2.958, 0.0174, 360), (4.9, 0.175, 36)),
        "resolution": ((3.2, 0.101, 0.0017, 0.0), (4.9, 0.285, 0.0350, 0.0)),
        "energy_min": 0.5,
        "significance": 2.0,
    },
    "hadronic": {
        "towers": ((2.5, 0.1, 36), (4.9, 0.2, 18)),
        "resolution": ((1.7, 0.5205, 0.0302, 1.59), (3.2, 0.706, 0.0500, 0.0), (4.9, 1.00, 0.0942, 0.0)),
        "energy_min": 1.0,
        "significance": 2.0,
    },
}
CHARGES = {11: -1, 13: -1, 211: 1, 321: 1, 2212: 1, 3112: -1, 3222: 1, 3312: -1, 3334: -1}
# Share of its energy that a particle leaves in the electromagnetic calorimeter; the rest goes to the hadronic one.
SHARES = {11: 1.0, 22: 1.0, 111: 1.0, 310: 0.3, 3122: 0.3, 130: 0.0, 2112: 0.0, 3212: 0.0, 3322: 0.0}
INVISIBLE = (12, 14, 16)


def detect(momenta, pdg_id, generator, parameters=ATLAS):
    """Return what the detector sees of each event, as candidates of an energy flow, hardest first.

    Charged particles leave a track with a probability, and its pT is smeared. All but muons and neutrinos leave their
    energy in the tower they hit; the sum in each tower is smeared. Where towers hold more than the tracks that point
    to them, the rest is a photon (electromagnetic) or a neutral hadron; a particle without track becomes one of these.

    Arguments:
        momenta: stable particles (E, px, py, pz) [GeV], zero-padded; pdg_id: their numbers, 0 for padding.
        generator: torch.Generator on the device of the momenta.
        parameters: a table like ATLAS; change one entry: {**ATLAS, "hadronic": {**ATLAS["hadronic"], ...}}.
    Shapes:
        momenta (n, particles, 4), pdg_id (n, particles) -> dict of momenta (n, candidates, 4) in the type of the input,
        kind (n, candidates) that counts KINDS, charge (n, candidates); candidates: as many as the fullest event has
    Raises:
        ValueError: wrong shapes, momenta that are not finite, a particle that does not live long enough.
    Example:
        >>> momenta = torch.tensor([[[50.0, 0, 50, 0], [40, 0, 0, 40], [0, 0, 0, 0]]])
        >>> seen = detect(momenta, torch.tensor([[13, 14, 0]]), torch.Generator().manual_seed(1))
        >>> [KINDS[kind] for kind in seen["kind"][0]], seen["charge"].tolist(), seen["momenta"].round().tolist()
        (['muon'], [[-1]], [[[50.0, 0.0, 50.0, 0.0]]])

    Reference: DELPHES 3 collaboration 2013, arXiv:1307.6346.
    """
    _check(momenta, pdg_id)
    event, place = (pdg_id != 0).nonzero(as_tuple=True)
    p, number = momenta[event, place].double(), pdg_id[event, place]
    tracks = _tracks(event, p, number, generator, parameters)
    found = [tracks]
    share = _look_up(SHARES, number)
    deposits = ~torch.isin(number.abs(), number.new_tensor((*INVISIBLE, 13)))
    for name, part, taken, kind in (
        ("electromagnetic", share, tracks["kind"] == KINDS.index("electron"), "photon"),
        ("hadronic", 1 - share, tracks["kind"] == KINDS.index("charged hadron"), "neutral hadron"),
    ):
        hit = deposits & (part > 0)
        calorimeter = parameters[name]
        rows = towers(event[hit], p[hit], part[hit] * p[hit][:, 0], generator, calorimeter)
        pointing = tower_of(tracks["momenta"], calorimeter["towers"]) + rows["stride"] * tracks["event"]
        rest = rows["energy"] - _sum_at(rows["tower"], pointing[taken], tracks["momenta"][taken][:, 0])
        kept = (rest > calorimeter["energy_min"]) & (rest > calorimeter["significance"] * rows["sigma"])
        rest = kinematics.from_pt_eta_phi_mass(rest / rows["eta"].cosh(), rows["eta"], rows["phi"], 0.0)
        code = torch.full_like(rows["event"], KINDS.index(kind))
        columns = {"event": rows["event"], "momenta": rest, "kind": code, "charge": torch.zeros_like(code)}
        found.append({column: values[kept] for column, values in columns.items()})
    columns = {name: torch.cat([part[name] for part in found]) for name in found[0]}
    return _padded(columns, len(momenta), momenta.dtype)


def tracking_efficiency(kind, pt, eta, parameters=ATLAS):
    """Return the probability that a charged particle leaves a track.

    Arguments:
        kind: "charged hadron", "electron" or "muon".
    Shapes:
        pt [GeV], eta (n,) -> (n,)
    Raises:
        ValueError: a kind without tracks; so for `track_resolution`.
    Example:
        >>> tracking_efficiency("electron", torch.tensor([0.05, 50.0, 500.0]), torch.zeros(3))
        tensor([0.0000, 0.9500, 0.9900])
    """
    edges = parameters["efficiency_edges"]
    table = torch.nn.functional.pad(_table(parameters["efficiency"], kind, pt), (1, 0, 0, 1))  # no track outside it
    return table[_bin(eta.abs(), edges["eta"]), _bin(pt, edges["pt"])]


def track_resolution(kind, pt, eta, parameters=ATLAS):
    """Return the standard deviation of the measured pT of a track.

        sigma^2 = a^2 + (b pT)^2

    Shapes:
        pt [GeV], eta (n,) -> (n,) [GeV]
    Example:
        >>> track_resolution("muon", torch.tensor([100.0]), torch.tensor([0.0]))
        tensor([0.0141])
    """
    table = _table(parameters["track_resolution"], kind, pt)
    row = _bin(eta.abs(), parameters["track_edges"]).clamp(max=len(table) - 1)
    return torch.hypot(table[row, 0], table[row, 1] * pt)


def energy_resolution(energy, eta, calorimeter):
    """Return the standard deviation of the energy that a tower measures.

        sigma / E = a / sqrt(E) (+) b (+) c / E

    Arguments:
        calorimeter: ATLAS["electromagnetic"] or ATLAS["hadronic"].
    Shapes:
        energy [GeV], eta (n,) -> (n,) [GeV]
    Example:
        >>> energy_resolution(torch.tensor([100.0]), torch.tensor([0.0]), ATLAS["electromagnetic"])
        tensor([1.0242])
    """
    edges, *numbers = zip(*calorimeter["resolution"])
    row = _bin(eta.abs(), edges).clamp(max=len(edges) - 1)
    a, b, c = (torch.tensor(column, dtype=energy.dtype, device=energy.device)[row] for column in numbers)
    return (a**2 * energy + (b * energy) ** 2 + c**2).sqrt()


def towers(event, momenta, energy, generator, calorimeter):
    """Return the towers that particles hit, with the energy that each measures and a place drawn evenly within it.

        E_measured = exp(N(log E - s^2 / 2, s^2)),    s^2 = log(1 + sigma^2 / E^2): mean E, standard deviation sigma

    Arguments:
        event: number of each particle's event; energy: what it leaves here [GeV].
        calorimeter: ATLAS["electromagnetic"] or ATLAS["hadronic"].
    Shapes:
        event (m,), momenta (m, 4), energy (m,) -> dict of columns (towers,): event, energy, sigma (of the measured
        energy), eta, phi, tower (its number, unique over all events); stride: towers in each event
    Example:
        >>> photons = torch.tensor([[50.0, 50, 0, 0], [30, 30, 0.01, 0]])
        >>> hit = towers(torch.tensor([0, 0]), photons, photons[:, 0], torch.Generator(), ATLAS["electromagnetic"])
        >>> len(hit["energy"]), bool((hit["energy"] - 80).abs() < 5)
        (1, True)
    """
    edges, cells, first = _grid(calorimeter["towers"], momenta)
    inside = kinematics.eta(momenta).abs() < edges[-1]
    stride = int(first[-1])
    named = stride * event[inside] + tower_of(momenta[inside], calorimeter["towers"])
    tower, hit = torch.unique(named, return_inverse=True)
    total = torch.zeros(len(tower), dtype=energy.dtype, device=energy.device).index_add_(0, hit, energy[inside])
    ring = torch.bucketize(tower % stride, first[1:], right=True)
    u = torch.rand(2, len(tower), dtype=energy.dtype, device=energy.device, generator=generator)
    eta = edges[ring] + u[0] * (edges[ring + 1] - edges[ring])
    phi = 2 * math.pi * ((tower % stride - first[ring] + u[1]) / cells[ring]) - math.pi
    centre = (edges[ring] + edges[ring + 1]) / 2
    measured = _smear(total, energy_resolution(total, centre, calorimeter), generator)
    sigma = energy_resolution(measured, centre, calorimeter)
    above = (measured > calorimeter["energy_min"]) & (measured > calorimeter["significance"] * sigma)
    columns = {"event": tower // stride, "energy": measured, "sigma": sigma, "eta": eta, "phi": phi, "tower": tower}
    return {name: values[above] for name, values in columns.items()} | {"stride": stride}


def tower_of(momenta, grid):
    """Return the number of the tower that each momentum points to, counted around ring after ring.

    Arguments:
        grid: rows (largest |eta|, size in eta, number around the beam), from the middle outwards.
    Shapes:
        momenta (m, 4) -> (m,); outside the grid the last ring at that end
    Example:
        >>> tower_of(torch.tensor([[5.0, -3, -0.1, 4], [5.0, -3, -0.1, -4]]), [(2.0, 1.0, 4)])
        tensor([12,  0])
    """
    edges, cells, first = _grid(grid, momenta)
    ring = torch.bucketize(kinematics.eta(momenta), edges[1:-1], right=True)
    turn = (kinematics.phi(momenta) + math.pi) / (2 * math.pi)
    return first[ring] + torch.minimum((turn * cells[ring]).long(), cells[ring] - 1)


def _grid(grid, like):
    """Return the edges of the rings in eta, the cells around each, and the number of the first one of each."""
    edges, cells, start = [0.0], [], 0.0
    for end, size, around in grid:
        rings = max(1, round((end - start) / size))
        edges += [start + (end - start) * (i + 1) / rings for i in range(rings)]
        cells += [around] * rings
        start = end
    edges = torch.tensor([-edge for edge in edges[:0:-1]] + edges, dtype=like.dtype, device=like.device)
    cells = torch.tensor(cells[::-1] + cells, device=like.device)
    return edges, cells, torch.nn.functional.pad(cells.cumsum(0), (1, 0))


def _tracks(event, p, number, generator, parameters):
    """Return the columns of all tracks: event, momenta, kind, charge."""
    charge = _look_up(CHARGES, number) * number.sign()
    kind = torch.full_like(number, KINDS.index("charged hadron"))
    kind[number.abs() == 11], kind[number.abs() == 13] = KINDS.index("electron"), KINDS.index("muon")
    pt, eta = kinematics.pt(p), kinematics.eta(p)
    efficiency, sigma = torch.zeros_like(pt), torch.zeros_like(pt)
    for name in ("charged hadron", "electron", "muon"):
        same = kind == KINDS.index(name)
        efficiency[same] = tracking_efficiency(name, pt[same], eta[same], parameters)
        sigma[same] = track_resolution(name, pt[same], eta[same], parameters)
    u = torch.rand(len(p), dtype=p.dtype, device=p.device, generator=generator)
    left = (charge != 0) & (u < efficiency)
    event, p, kind, charge, pt, sigma = (column[left] for column in (event, p, kind, charge, pt, sigma))
    scale = _smear(pt, sigma, generator) / pt
    three = p[:, 1:] * scale[:, None]
    energy = (three.square().sum(1) + kinematics.mass_squared(p).clamp(min=0)).sqrt()
    return {"event": event, "momenta": torch.cat([energy[:, None], three], 1), "kind": kind, "charge": charge.long()}


def _smear(mean, sigma, generator):
    """Return log-normal numbers with this mean and standard deviation, so that none is negative."""
    s = torch.log1p((sigma / mean) ** 2).sqrt()
    normal = torch.randn(len(mean), dtype=mean.dtype, device=mean.device, generator=generator)
    return mean * torch.exp(s * normal - s**2 / 2)


def _sum_at(sorted_names, names, values):
    """Return the sum of the values of each name; names that are not among the sorted ones are left out."""
    total = torch.zeros(len(sorted_names), dtype=values.dtype, device=values.device)
    if len(sorted_names):
        place = torch.searchsorted(sorted_names, names).clamp(max=len(sorted_names) - 1)
        known = sorted_names[place] == names
        total.index_add_(0, place[known], values[known])
    return total


def _padded(columns, n, dtype):
    """Return columns of candidates as tensors (n, candidates, ...), hardest first, zero where an event has fewer."""
    order = kinematics.pt(columns["momenta"]).argsort(descending=True, stable=True)
    order = order[columns["event"][order].argsort(stable=True)]
    event = columns["event"][order]
    count = torch.bincount(event, minlength=n)
    place = torch.arange(len(event), device=event.device) - (count.cumsum(0) - count)[event]
    most = int(count.max()) if n else 0
    found = {}
    for name, kept_as in (("momenta", dtype), ("kind", torch.long), ("charge", torch.long)):
        values = columns[name][order].to(kept_as)
        found[name] = values.new_zeros(n, most, *values.shape[1:])
        found[name][event, place] = values
    return found


def _bin(values, edges):
    return torch.bucketize(values, torch.tensor(edges, dtype=values.dtype, device=values.device))


def _look_up(table, number):
    return sum(value * (number.abs() == known).double() for known, value in table.items())


def _table(tables, kind, like):
    if kind not in tables:
        raise ValueError(f"there are no tracks of {kind!r}; the kinds are: {', '.join(tables)}")
    return torch.tensor(tables[kind], dtype=like.dtype, device=like.device)


def _check(momenta, pdg_id):
    shapes = momenta.dim() == 3 and momenta.shape[-1] == 4 and pdg_id.shape == momenta.shape[:2]
    if not shapes or not momenta.is_floating_point() or pdg_id.is_floating_point():
        got = f"{tuple(momenta.shape)} {momenta.dtype} and {tuple(pdg_id.shape)} {pdg_id.dtype}"
        raise ValueError(f"momenta must be numbers (n, particles, 4), pdg_id integers (n, particles); got {got}")
    if not momenta.isfinite().all():
        raise ValueError("momenta hold NaN or infinity; keep the rest: momenta[momenta.isfinite().all(-1).all(-1)]")
    strange = ~torch.isin(pdg_id.abs(), torch.tensor([0, *CHARGES, *SHARES, *INVISIBLE], device=pdg_id.device))
    if strange.any():
        numbers = pdg_id[strange].unique().tolist()[:5]
        raise ValueError(f"particles {numbers} do not reach the detector; let Pythia decay or hadronise them")
    if ((pdg_id != 0) & (momenta[..., 0] <= 0)).any():
        raise ValueError("a particle has no energy; momenta are (E, px, py, pz), and padding has pdg_id 0")
