"""Taggers: neither padding nor order changes an answer; parts against other libraries and loops written out."""

import math

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from lhcml_tutor import datasets, kinematics, taggers
from lhcml_tutor.taggers import particle_net

TAGGERS = {
    "deep sets": lambda d: taggers.DeepSets(d, hidden=(16, 16), latent=8),
    "image": lambda d: taggers.ImageNetwork(pixels=16, channels=(4, 8)),
    "ParticleNet": lambda d: taggers.ParticleNet(d, channels=((8, 8), (16, 16)), k=5),
    "ParticleNet, three classes": lambda d: taggers.ParticleNet(d, channels=((8, 8),), k=5, outputs=3),
    "transformer": lambda d: taggers.ParticleTransformer(d, width=16, blocks=2, class_blocks=2),
    "transformer without pairs": lambda d: taggers.ParticleTransformer(d, width=16, blocks=2, pairs=False),
}


@pytest.fixture(scope="module")
def jets():
    """Return features (64, 80, 5) and mask of jets behind the detector, half of them moved onto a grid: float64."""
    relative = datasets.load_top_jets(n=64)["relative"].double()
    relative[::2, :, 1:] = (relative[::2, :, 1:] * 10).round() / 10  # as wide as the towers of a hadronic calorimeter
    return taggers.constituent_features(relative)


def made(name, jets=None):
    """Return a tagger in float64 with large random weights and, where jets are given, their statistics."""
    torch.manual_seed(1)
    model = TAGGERS[name](5).double()
    for weights in model.parameters():
        nn.init.normal_(weights, std=0.3)
    if jets is not None:
        for part in model.modules():
            part.momentum = None  # statistics of one batch, not a tenth of them
        with torch.no_grad():
            model(*jets)
    return model


def shuffled(features, mask, generator, padding=0):
    """Return jets with their constituents in another order, and more rows of padding filled with nonsense."""
    n, d = len(features), features.shape[2]
    features = torch.cat([features, 100 * torch.randn(n, padding, d, dtype=features.dtype, generator=generator)], dim=1)
    mask = torch.cat([mask, mask.new_zeros(n, padding)], dim=1)
    order = torch.rand(mask.shape, generator=generator).argsort(1)
    return features.gather(1, order[..., None].expand_as(features)), mask.gather(1, order)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", TAGGERS)
def test_padding_and_order_change_nothing(name, training, jets):
    model, generator = made(name, jets).train(training), torch.Generator().manual_seed(2)
    with torch.no_grad():
        wanted = model(*jets)
        for padding in (0, 17):
            found = model(*shuffled(*jets, generator, padding))
            assert (found - wanted).abs().max() < 1e-6 < 1e-3 < wanted.std()


def test_neighbours_by_order_of_rows_would_fail(monkeypatch, jets):
    """The control: with the constituents left in the order they come in, ties on the grid change answers."""
    monkeypatch.setattr(particle_net, "canonical_order", lambda features, mask: (features, mask))
    model = made("ParticleNet", jets).eval()
    with torch.no_grad():
        change = (model(*shuffled(*jets, torch.Generator().manual_seed(2))) - model(*jets)).abs()
    assert (change > 1e-6).float().mean() > 0.1


@pytest.mark.parametrize("name", TAGGERS)
def test_a_jet_is_judged_alone(name, jets):
    """What stands in the other rows of a batch has no say, once the network is in eval mode."""
    model = made(name, jets).eval()
    with torch.no_grad():
        assert torch.allclose(model(*(part[:1] for part in jets)), model(*jets)[:1], atol=1e-9)


@pytest.mark.parametrize("name", TAGGERS)
def test_gradient_reaches_every_parameter(name, jets):
    model = made(name)
    model(*jets).square().sum().backward()
    silent = [key for key, weights in model.named_parameters() if weights.grad is None or not weights.grad.any()]
    assert not silent


@pytest.mark.parametrize("name", TAGGERS)
def test_jets_of_one_constituent_or_none(name):
    features, mask = torch.zeros(3, 4, 5), torch.tensor([[True, False, False, False], [False] * 4, [True] * 4])
    assert torch.isfinite(TAGGERS[name](5).eval()(features, mask)).all()


@pytest.mark.parametrize("name", TAGGERS)
def test_weights_come_back(name, jets, tmp_path):
    first, second = made(name), TAGGERS[name](5).double()
    first(*jets)  # moves the statistics
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    second.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(first.eval()(*jets), second.eval()(*jets))


@pytest.mark.parametrize(
    ("features", "mask", "message"),
    [
        (torch.zeros(2, 4, 6), torch.ones(2, 4, dtype=torch.bool), r"must be \(n, particles, 5\)"),
        (torch.zeros(2, 4, 5), torch.ones(2, 4), "it must be bool"),
        (torch.zeros(2, 4, 5), torch.ones(2, 3, dtype=torch.bool), "like the features"),
    ],
)
@pytest.mark.parametrize("name", ["deep sets", "ParticleNet", "transformer"])
def test_wrong_input_is_named(name, features, mask, message):
    with pytest.raises(ValueError, match=message):
        TAGGERS[name](5)(features, mask)


def test_neighbours_are_those_of_scikit_learn():
    points = torch.randn(3, 20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    index = taggers.nearest_neighbours(points, torch.ones(3, 20, dtype=torch.bool), k=6)
    for jet, found in zip(points, index, strict=True):
        wanted = NearestNeighbors(n_neighbors=6).fit(jet).kneighbors(return_distance=False)  # without the point itself
        assert torch.equal(found, torch.from_numpy(wanted))


def test_padding_is_nobodys_neighbour(jets):
    _, mask = jets
    index = taggers.nearest_neighbours(jets[0][..., :2], mask, k=7)
    jet = torch.arange(len(mask))[:, None, None]
    assert mask[jet, index][mask].all()
    few = mask & (torch.arange(mask.shape[1]) < 3)
    index = taggers.nearest_neighbours(jets[0][..., :2], few, k=7)
    own = torch.arange(mask.shape[1])[None, :, None]
    assert (index[..., 2:] == own).all() and (index[:, :3, :2] != own[:, :3]).all()  # two others, then itself


def test_edge_convolution_is_the_formula(jets):
    """Against loops over constituents and neighbours, with the first layer as one map of (x_i, x_j - x_i)."""
    torch.manual_seed(1)
    layer = taggers.EdgeConv(5, (8, 6, 4)).double()
    for norm in [*layer.norms, layer.shortcut[1]]:
        for values in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(values)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    layer.eval()
    x, index = torch.randn(10, 5, dtype=torch.float64), torch.randint(10, (10, 3))
    first = torch.cat([layer.own.weight + layer.other.weight, layer.other.weight], dim=1)  # W_1, W_2
    for i in range(10):
        messages = []
        for j in index[i]:
            h = layer.norms[0]((first @ torch.cat([x[i], x[j] - x[i]]))[None]).relu()
            for linear, norm in zip(layer.maps, list(layer.norms)[1:], strict=True):
                h = norm(linear(h)).relu()
            messages.append(h[0])
        wanted = (layer.shortcut(x[i : i + 1])[0] + sum(messages) / 3).relu()
        assert torch.allclose(layer(x, index)[i], wanted, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_that_of_torch(masked):
    torch.manual_seed(1)
    ours, theirs = taggers.Attention(12, heads=3).double(), nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]).normal_())
        ours.query.bias.copy_(theirs.in_proj_bias[:12])
        ours.key_value.bias.copy_(theirs.in_proj_bias[12:])
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    queries, keys = torch.randn(4, 5, 12, dtype=torch.float64), torch.randn(4, 7, 12, dtype=torch.float64)
    bias = torch.randn(4, 3, 5, 7, dtype=torch.float64)
    if masked:
        bias = bias.masked_fill(torch.arange(7) > 3, -1e9)
    wanted, _ = theirs(queries, keys, keys, attn_mask=bias.flatten(0, 1))
    assert torch.allclose(ours(queries, keys, bias), wanted, atol=1e-12)


def test_pair_features_are_those_of_momenta():
    """Against momenta: the mass of pairs of massless particles at small angles, kT and z by their definitions."""
    generator = torch.Generator().manual_seed(1)
    relative = torch.rand(5, 6, 3, dtype=torch.float64, generator=generator)
    relative = torch.stack([1 + 50 * relative[..., 0], 0.01 * relative[..., 1], 0.01 * relative[..., 2]], dim=-1)
    features, _ = taggers.constituent_features(relative)
    found = taggers.pair_features(features, smallest=1e-9)
    shift, width = torch.tensor([[-2.0, -1.0, -2.0, -1.5], [1.3, 1.5, 1.3, 2.7]], dtype=torch.float64)
    delta, kt, z, square = (found * width + shift).exp().unbind(-1)
    p = kinematics.from_pt_eta_phi_mass(*relative.unbind(-1), 0.0)
    apart = ~torch.eye(6, dtype=torch.bool).expand(5, 6, 6)
    mass = kinematics.mass(p[:, :, None] + p[:, None])
    assert torch.allclose(square[apart].sqrt(), mass[apart], rtol=1e-4)
    pt = relative[..., 0]
    least = torch.minimum(pt[:, :, None], pt[:, None])
    assert torch.allclose((kt / delta)[apart], least[apart]) and torch.allclose(
        z[apart], (least / (pt[:, :, None] + pt[:, None]))[apart]
    )


def test_aligned_jets_forget_their_rotation_and_mirror_image():
    relative = datasets.load_top_jets(n=200)["relative"].double()
    wanted = taggers.aligned(relative)
    turned = taggers.rotated(relative, torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64))
    mirrored = turned * torch.tensor([1.0, 1.0, -1.0])
    for other in (turned, mirrored):
        same = (taggers.aligned(other) - wanted).abs().amax((1, 2)) < 1e-9
        assert same.double().mean() > 0.98  # but for the jets whose sides are equally hard
    pt, place = wanted[..., :1], wanted[..., 1:]
    spread = (pt * place).mT @ place
    assert (spread[:, 0, 1].abs() < 1e-9 * spread[:, 0, 0]).all() and (spread[:, 0, 0] >= spread[:, 1, 1]).all()
    assert ((pt * place).sum(1).abs() < 1e-9).all()
    assert ((pt * place.sign()).sum(1) > -1e-9).all()


def test_image_holds_the_transverse_momentum(jets):
    features, mask = jets
    image = taggers.jet_image(features, mask, pixels=40, width=8.0)
    assert torch.allclose(image.sum((1, 2)), torch.ones(len(mask), dtype=torch.float64))
    narrow = taggers.jet_image(features, mask, pixels=40, width=0.8).sum((1, 2))
    inside = (features[..., :2] >= -0.4).all(-1) & (features[..., :2] < 0.4).all(-1) & mask
    share = (features[..., 3].exp() * inside).sum(1)
    assert torch.allclose(narrow, share) and narrow.min() < 0.9


def test_features_keep_the_hardest_and_know_the_kind():
    relative = torch.tensor([[[5.0, 0.1, 0.0], [20.0, 0.0, 0.1], [10.0, 0.2, 0.0], [0.0, 0.0, 0.0]]])
    features, mask = taggers.constituent_features(relative, torch.tensor([[22, -211, 130, 0]]), most=2)
    assert features.shape == (1, 2, 11) and mask.all()
    assert torch.allclose(features[0, :, 2].exp(), torch.tensor([20.0, 10.0]))
    assert features[0, :, 5:].argmax(1).tolist() == [1, 2] and (features[0, :, 5:].sum(1) == 1).all()


def test_quark_gluon_jets_hold_no_other_kinds():
    events = datasets.load_quark_gluon_jets(n=500)
    features, mask = taggers.constituent_features(events["relative"], events["pdg_id"])
    assert (features[..., 5:].sum(-1)[mask] == 1).all()


@pytest.mark.parametrize(
    ("relative", "message"),
    [
        (torch.ones(2, 3, 4), r"\(n, particles, 3\)"),
        (torch.full((2, 3, 3), math.nan), "2 of 2 jets hold NaN"),
        (-torch.ones(2, 3, 3), "pT is negative"),
        (torch.zeros(2, 3, 3), "have no constituents"),
    ],
)
def test_jets_that_cannot_be_are_refused(relative, message):
    with pytest.raises(ValueError, match=message):
        taggers.constituent_features(relative)
    with pytest.raises(ValueError, match=message):
        taggers.aligned(relative)
