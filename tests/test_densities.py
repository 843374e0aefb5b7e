"""One examination for every density of the course; broken ones must fail it.

A density has log_prob(x, condition) and sample(n, condition). Samples are held against the density in boxes: the
fraction of samples in a box is the integral of exp(log_prob) over it, within five standard errors.
"""

import math

import pytest
import torch

from lhcml_tutor.bijections import Compose, Logit, LogShift, Standardise
from lhcml_tutor.flow_matching import FlowMatching
from lhcml_tutor.flows import CouplingFlow

CONDITION = torch.tensor([0.3, -1.0])


def seeded(make):
    def build():
        torch.manual_seed(5)
        model = make()
        generator = torch.Generator().manual_seed(7)
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
        return model

    return build


DENSITIES = {  # d = 2 each; name: (make, condition, box in which most of it lies)
    "spline flow": (lambda: CouplingFlow(2, blocks=4, hidden=(16,)), None, (-6.0, 6.0)),
    "affine flow": (lambda: CouplingFlow(2, blocks=4, hidden=(16,), kind="affine"), None, (-8.0, 8.0)),
    "conditional spline flow": (lambda: CouplingFlow(2, 2, blocks=4, hidden=(16,)), CONDITION, (-6.0, 6.0)),
    "flow behind a logit": (
        lambda: CouplingFlow(2, blocks=4, hidden=(16,), preprocess=Logit(0.0, 1.0, eps=0.0)), None, (0.0, 1.0),
    ),
    "flow in GeV": (
        lambda: CouplingFlow(2, 2, blocks=2, hidden=(16,), preprocess=Compose(LogShift(20.0), Standardise(2))),
        CONDITION, (20.0, 40.0),
    ),
    "flow matching": (lambda: FlowMatching(2, hidden=(16, 16)), None, (-8.0, 8.0)),
    "conditional flow matching": (lambda: FlowMatching(2, 2, hidden=(16, 16)), CONDITION, (-8.0, 8.0)),
    "flow matching in GeV": (
        lambda: FlowMatching(2, 2, hidden=(16,), preprocess=Compose(LogShift(20.0), Standardise(2))),
        CONDITION, (20.0, 50.0),
    ),
}  # fmt: skip


def grid(low, high, points):
    step = (high - low) / points
    axis = low + step * (torch.arange(points, dtype=torch.float64) + 0.5)
    return torch.cartesian_prod(axis, axis), step * step


def examine(model, condition, box, n=40_000):
    """Shapes, gradients, boxes, the condition, save and load."""
    model = model.double()
    continuous = isinstance(model, FlowMatching)  # an integral over time for each point: a coarser grid
    points, differentiable = (160, {"gradients": True}) if continuous else (400, {})
    given = None if condition is None else condition.double()
    x = model.sample(500, given, generator=torch.Generator().manual_seed(1))
    assert x.shape == (500, 2) and x.dtype == torch.float64 and not x.requires_grad
    log_p = model.log_prob(x, given, **differentiable)
    assert log_p.shape == (500,) and torch.isfinite(log_p).all()
    log_p.mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), f"no gradient reaches {name}"

    x = model.sample(n, given, generator=torch.Generator().manual_seed(2))
    places, area = grid(*box, points)
    with torch.no_grad():
        mass = model.log_prob(places, given).exp() * area
    side = (box[1] - box[0]) / points
    middle = box[0] + side * ((x.median(0).values - box[0]) / side).round()  # between cells of the grid
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        sides = torch.tensor(signs, dtype=torch.float64)
        inside = ((x - middle) * sides > 0).all(1) & ((x > box[0]) & (x < box[1])).all(1)
        expected = mass[((places - middle) * sides > 0).all(1)].sum()
        error = math.sqrt(max(expected * (1 - expected), 1e-4) / n)
        assert abs(inside.double().mean() - expected) < 5 * error + 3e-4, "samples and density disagree in a box"

    if condition is not None:
        rows = given.expand(500, -1)
        assert torch.allclose(model.log_prob(x[:500], rows), model.log_prob(x[:500], given))
        assert not torch.allclose(model.log_prob(x[:500], given + 1), model.log_prob(x[:500], given)), "no condition"
        assert not torch.allclose(
            model.sample(50, given + 1, generator=torch.Generator().manual_seed(1)),
            model.sample(50, given, generator=torch.Generator().manual_seed(1)),
        ), "the condition does not matter for samples"


@pytest.mark.parametrize("name", DENSITIES)
def test_conformance(name):
    make, condition, box = DENSITIES[name]
    examine(seeded(make)(), condition, box)


@pytest.mark.parametrize("name", DENSITIES)
def test_save_and_load(name, tmp_path):
    make, condition, _ = DENSITIES[name]
    model, other = seeded(make)(), make()
    torch.save(model.state_dict(), tmp_path / "m.pt")
    other.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    x = model.sample(20, condition, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.log_prob(x, condition), other.log_prob(x, condition))


class LogDetDropped(CouplingFlow):
    def forward(self, x, condition=None):
        z, log_det = super().forward(x, condition)
        return z, 0 * log_det


class OneLayerOff(CouplingFlow):
    def inverse(self, z, condition=None):
        keep, self.layers = self.layers, self.layers[:-1]
        try:
            return super().inverse(z, condition)
        finally:
            self.layers = keep


class DivergenceDropped(FlowMatching):
    def log_prob(self, x, condition=None, **settings):
        integral = super().log_prob(x, condition, **settings)
        z = self.transport(x, condition, t_0=1.0, t_1=0.0)
        return 0 * integral - 0.5 * z.square().sum(1) - math.log(2 * math.pi)


class DeafToCondition(CouplingFlow):
    def _given(self, x, condition):
        condition, present = super()._given(x, condition)
        return 0 * condition, present


@pytest.mark.parametrize(
    ("make", "condition"),
    [(lambda: LogDetDropped(2, blocks=4, hidden=(16,)), None), (lambda: OneLayerOff(2, blocks=4, hidden=(16,)), None),
     (lambda: DeafToCondition(2, 2, blocks=4, hidden=(16,)), CONDITION),
     (lambda: DivergenceDropped(2, hidden=(16, 16)), None)],
    ids=["log-det dropped", "inverse off by one layer", "deaf to its condition", "divergence dropped"],
)  # fmt: skip
def test_a_broken_density_fails_the_examination(make, condition):
    with pytest.raises(AssertionError):
        examine(seeded(make)(), condition, (-6.0, 6.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", DENSITIES)
def test_cuda(name):
    make, condition, _ = DENSITIES[name]
    model = seeded(make)().cuda()
    given = None if condition is None else condition.cuda()
    x = model.sample(100, given)
    assert x.is_cuda and torch.isfinite(model.log_prob(x, given)).all()


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_layers_and_velocities_make_their_tensors_where_their_input_is(kind):
    """A dry run of the GPU path: on the meta device every tensor made on the wrong device fails."""
    x, condition = torch.zeros(5, 3, device="meta"), torch.zeros(5, 2, device="meta")
    for layer in CouplingFlow(3, 2, kind=kind, blocks=2, hidden=(8,)).to("meta").layers:
        for step in (layer, layer.inverse):
            assert all(part.device.type == "meta" for part in step(x, condition))
    for present in (None, torch.ones(2, 3, dtype=torch.bool)):
        model = FlowMatching(3, 2, hidden=(8,), present=present).to("meta")
        assert model.velocity(x, 0.5, condition).device.type == "meta"


def test_a_class_with_fewer_features_has_a_density_in_fewer_dimensions():
    """`present`: what is missing stays zero, changes nothing, and the density integrates to 1 in what is there."""
    present = torch.tensor([[True, True, False], [True, True, True]])
    torch.manual_seed(1)
    flow = CouplingFlow(3, 2, blocks=4, hidden=(16,), present=present).double()
    first = torch.tensor([1.0, 0.0], dtype=torch.float64)
    x = flow.sample(1000, first, generator=torch.Generator().manual_seed(1))
    assert (x[:, 2] == 0).all() and (x[:, :2] != 0).all()
    places, area = grid(-6.0, 6.0, 300)
    with torch.no_grad():
        log_p = flow.log_prob(torch.cat([places, torch.zeros(len(places), 1, dtype=torch.float64)], 1), first)
    assert abs(log_p.exp().sum() * area - 1) < 2e-3
    assert (flow.sample(1000, first.flip(0), generator=torch.Generator().manual_seed(1))[:, 2] != 0).all()
