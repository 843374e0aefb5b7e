"""What taggers see of a jet: a list of constituents of any length, and images of it."""

import torch

PLACE, LOG_PT = slice(0, 2), 2  # columns of the features, for those who need angles and momenta again
KINDS = (("charged hadron +", (211, 321, 2212)), ("charged hadron -", (-211, -321, -2212)),
         ("neutral hadron", (130, 2112, -2112, 310, 3122, -3122)), ("photon", (22,)),
         ("electron +-", (11, -11)), ("muon +-", (13, -13)))  # fmt: skip


def constituent_features(relative, pdg_id=None, most=None):
    """Return the numbers that a tagger gets for each constituent, and which rows hold one.

        Delta eta, Delta phi, ln(pT / GeV), ln(pT / pT of the jet), Delta R

    with differences to the axis of the jet; and with pdg_id six more, one of which is 1 and says the kind: charged
    hadron of either sign, neutral hadron, photon, electron, muon. Networks standardise them on their own.

    Arguments:
        relative: column `relative` of `datasets.load_top_jets`.
        most: keep only so many constituents, the hardest; None keeps all.
    Shapes:
        relative (n, particles, 3): pT [GeV], eta, phi, zero-padded; pdg_id (n, particles) ->
        features (n, particles, 5 or 11), mask (n, particles) bool
    Raises:
        ValueError: another shape, numbers that are not finite, a negative pT, a jet without constituents, most < 1.
    Example:
        >>> features, mask = constituent_features(torch.tensor([[[60.0, 0.3, 0.4], [0.0, 0.0, 0.0]]]))
        >>> features[0, 0], mask
        (tensor([0.3000, 0.4000, 4.0943, 0.0000, 0.5000]), tensor([[ True, False]]))

    Reference: five of the seven of Qu, Gouskos 2019, arXiv:1902.08570; energies say little next to pT in narrow jets.
    """
    check_relative(relative)
    if most is not None:
        if most < 1:
            raise ValueError(f"most is a number of constituents, at least 1, not {most}")
        hardest = relative[..., 0].argsort(dim=1, descending=True, stable=True)[:, :most]
        relative = relative.gather(1, hardest[..., None].expand(-1, -1, 3))
        pdg_id = None if pdg_id is None else pdg_id.gather(1, hardest)
    pt, place = relative[..., 0], relative[..., 1:]
    mask = pt > 0
    log_pt = torch.where(mask, pt, 1.0).log()
    share = log_pt - pt.sum(1, keepdim=True).log()
    columns = [place, log_pt[..., None], share[..., None], place.square().sum(-1, keepdim=True).sqrt()]
    if pdg_id is not None:
        kinds = [torch.isin(pdg_id, pdg_id.new_tensor(numbers)) for _, numbers in KINDS]
        columns.append(torch.stack(kinds, dim=-1).to(pt))
    return torch.where(mask[..., None], torch.cat(columns, dim=-1), 0.0), mask


def rotated(relative, angle):
    """Return jets turned around their axis.

    Shapes:
        relative (n, particles, 3): pT, eta, phi; angle (n,) [rad] -> (n, particles, 3)
    Example:
        >>> rotated(torch.tensor([[[10.0, 1.0, 0.0]]]), torch.tensor([torch.pi / 6])).round(decimals=2)
        tensor([[[10.0000,  0.8700,  0.5000]]])
    """
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    pt, eta, phi = relative.unbind(-1)
    return torch.stack([pt, cos * eta - sin * phi, sin * eta + cos * phi], dim=-1)


def aligned(relative):
    """Return jets in one position: centred, long axis along eta, the harder half at large eta and at large phi.

        centre: sum_i pT_i (eta, phi)_i = 0,     long axis: largest eigenvalue of sum_i pT_i (eta, phi)_i (eta, phi)_i^T

    Turning and mirroring a jet changes nothing in the physics (apart from the difference between pseudorapidity and
    angle), so a network need not learn that it does not matter.

    Shapes:
        relative (n, particles, 3): pT [GeV], eta, phi, zero-padded -> the same
    Raises:
        ValueError: as in `constituent_features`.
    Example:
        >>> jet = torch.tensor([[[60.0, 0.0, -0.2], [40.0, 0.0, 0.3]]])
        >>> aligned(jet)[..., 1].round(decimals=4)
        tensor([[ 0.2000, -0.3000]])
    """
    check_relative(relative)
    pt, place = relative[..., :1], relative[..., 1:]
    weight = pt / pt.sum(1, keepdim=True)
    place = place - (weight * place).sum(1, keepdim=True)
    spread = (weight * place).mT @ place  # (n, 2, 2)
    # of a symmetric 2 x 2 matrix: tan(2 angle) = 2 S_01 / (S_00 - S_11)
    angle = torch.atan2(2 * spread[:, 0, 1], spread[:, 0, 0] - spread[:, 1, 1]) / 2
    jet = rotated(torch.cat([pt, place], dim=-1), -angle)
    # centred as it is, a jet has the same pT-weighted sum on both sides; the harder side is the one with more pT
    side = (jet[..., :1] * jet[..., 1:].sign()).sum(1, keepdim=True)
    place = torch.where(side < 0, -jet[..., 1:], jet[..., 1:])
    return torch.cat([pt, torch.where(pt > 0, place + 0.0, 0.0)], dim=-1)


def jet_image(features, mask, pixels=32, width=1.6):
    """Return images of jets: the share of the pT that falls into each pixel of Delta eta and Delta phi.

    Arguments:
        features, mask: of `constituent_features`; pixels along each side; width of the image.
    Shapes:
        features (n, particles, d), mask (n, particles) -> (n, pixels, pixels), eta along rows; what is outside is lost
    Example:
        >>> features, mask = constituent_features(torch.tensor([[[60.0, 0.3, 0.3], [20.0, -0.3, 0.3]]]))
        >>> jet_image(features, mask, pixels=2)
        tensor([[[0.0000, 0.2500],
                 [0.0000, 0.7500]]])
    """
    place = ((features[..., PLACE] / width + 0.5) * pixels).floor().long()
    inside = mask & (place >= 0).all(-1) & (place < pixels).all(-1)
    jet = torch.arange(len(mask), device=mask.device)[:, None].expand_as(mask)
    cell = (jet * pixels + place[..., 0]) * pixels + place[..., 1]
    pt = torch.where(mask, features[..., LOG_PT].exp(), 0.0)
    share = pt / pt.sum(1, keepdim=True)
    image = share.new_zeros(len(mask) * pixels**2)
    return image.index_add(0, cell[inside], share[inside]).view(-1, pixels, pixels)


def check_relative(relative):
    """Raise ValueError where jets are not (n, particles, 3) of pT, eta, phi with at least one constituent each.

    Shapes:
        relative (n, particles, 3)
    Example:
        >>> check_relative(torch.zeros(1, 2, 3))
        Traceback (most recent call last):
        ValueError: 1 of 1 jets have no constituents (pT is 0 everywhere): leave them out
    """
    if relative.ndim != 3 or relative.shape[2] != 3:
        raise ValueError(f"jets are (n, particles, 3) of pT [GeV], eta, phi, not {tuple(relative.shape)}")
    if not torch.isfinite(relative).all():
        jets = int((~torch.isfinite(relative)).flatten(1).any(1).sum())
        raise ValueError(f"{jets} of {len(relative)} jets hold NaN or infinity: leave them out")
    if (relative[..., 0] < 0).any():
        raise ValueError("pT is negative for some constituents; it has to be the first of the three columns")
    if (empty := int((relative[..., 0] == 0).all(1).sum())) > 0:
        raise ValueError(f"{empty} of {len(relative)} jets have no constituents (pT is 0 everywhere): leave them out")
