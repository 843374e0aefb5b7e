"""Lecture 06: what it builds by hand equals what the package offers from then on."""

import pytest
import torch
from by_hand import defined_in

import lhcml_tutor as lt
from lhcml_tutor.bijections import Compose, Standardise, spline_knots

DEFINED = ("AffineCoupling", "SplineCoupling", "bin_numbers", "log_slope", "spline", "spline_inverse", "Flow",
           "likelihood", "Polar", "Quantile", "behind")  # fmt: skip


def by_hand():
    given = {"spline_knots": spline_knots, "Compose": Compose, "Standardise": Standardise}
    return defined_in("L06", DEFINED, p=type("p", (), {"steps": 1}), **given)


def numbers(*shape, seed=3, scale=1.5):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["AffineCoupling", "SplineCoupling"])
@pytest.mark.parametrize("condition", [0, 2])
def test_the_layers_by_hand_are_the_package_s(kind, condition):
    stays = torch.tensor([True, False, False])
    options = {"bins": 7, "bound": 4.0} if kind == "SplineCoupling" else {}
    torch.manual_seed(1)
    hand = by_hand()[kind]([0], [1, 2], condition, (16,), **options).double()
    package = getattr(lt.bijections, kind)(stays, condition=condition, hidden=(16,), **options).double()
    package.network.load_state_dict(hand.network.state_dict())
    for parameter in (*hand.parameters(), *package.parameters()):
        parameter.data.mul_(3)  # away from the identity
    x, c = numbers(50, 3, scale=2.5), numbers(50, condition) if condition else None  # some outside of the bound
    for direction in ("forward", "inverse"):
        ours, theirs = (getattr(layer, direction)(x, c) for layer in (hand, package))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    ours, theirs = (torch.autograd.grad(layer(x, c)[1].sum(), list(layer.parameters())) for layer in (hand, package))
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("inverse", [False, True])
def test_the_spline_by_hand_is_the_package_s(inverse):
    tools = by_hand()
    raw, x = numbers(23, 200, 1), numbers(200, 1, seed=4, scale=3.0)
    knots = spline_knots(raw, 5.0)
    ours = tools["spline_inverse" if inverse else "spline"](x, *(part.permute(1, 2, 0) for part in knots))
    theirs = lt.bijections.rational_quadratic(x, *knots, inverse=inverse)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_the_flow_by_hand_is_the_package_s(kind):
    tools = by_hand()
    layer = tools["AffineCoupling" if kind == "affine" else "SplineCoupling"]
    x = numbers(100, 2)
    before = Standardise.fit(x)
    package = lt.flows.CouplingFlow(2, blocks=4, hidden=(32, 32), kind=kind, bins=8, preprocess=before).double()
    hand = tools["Flow"](layer, layers=4, preprocess=before).double()
    for ours, theirs in zip(hand.layers, package.layers, strict=True):
        ours.stays, ours.moves = theirs.stays.tolist(), theirs.moves.tolist()
        ours.network.load_state_dict(theirs.network.state_dict())
    torch.testing.assert_close(hand.log_prob(x), package.log_prob(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(tools["likelihood"](hand, {"x": x}), -package.log_prob(x).mean())


def test_the_maps_by_hand_return_what_they_took_and_know_their_jacobian():
    tools = by_hand()
    square = torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for bijection, x in ((tools["Polar"](), numbers(60, 2)), (tools["Quantile"](), square),
                         (tools["behind"](tools["Quantile"](-2.0, 3.0), x=square), square)):  # fmt: skip
        z, log_det = bijection(x)
        again, back = bijection.inverse(z)
        torch.testing.assert_close(again, x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(back, -log_det, rtol=1e-6, atol=1e-8)
        rows = torch.autograd.functional.jacobian(lambda x, map=bijection: map(x)[0].sum(0), x)  # (2, n, 2)
        jacobian = rows.transpose(0, 1)
        torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=1e-6, atol=1e-8)


def test_the_maps_by_hand_are_the_package_s():
    tools, x = by_hand(), numbers(60, 2)
    square = torch.rand(60, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    polar = Compose(lt.bijections.Polar(), lt.bijections.OnColumns([0], lt.bijections.LogShift(0.0)))
    quantile = lt.bijections.Quantile(-2.0, 3.0)
    for hand, package, points in ((tools["Polar"](), polar, x), (tools["Quantile"](-2.0, 3.0), quantile, square)):
        for ours, theirs in zip(hand(points), package(points), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        z = package(points)[0]
        for ours, theirs in zip(hand.inverse(z), package.inverse(z), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
