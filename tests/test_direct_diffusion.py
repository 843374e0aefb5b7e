"""Tutorial 08b: what it builds by hand equals what the package offers, and its coordinates are a map there and back."""

import itertools

import numpy as np
import torch
from by_hand import defined_in
from scipy.optimize import linear_sum_assignment
from torch.special import ndtr, ndtri

import lhcml_tutor as lt
from lhcml_tutor import kinematics
from lhcml_tutor.physics.constants import TOP_MASS, TOP_WIDTH, W_MASS, W_WIDTH
from lhcml_tutor.physics.on_shell import on_shell

DEFINED = ("breit_wigner_cdf", "path_batch", "runge_kutta_step", "transport_pairs", "tail_ratio", "smear", "pair_up",
           "flow_loss", "tops", "w_bosons", "mass_to_normal", "normal_to_mass", "direction_to_normal", "axes_along",
           "normal_to_direction", "decay_to_normal", "normal_to_decay", "encode", "decode")  # fmt: skip
MASSES = [3, 4, 9, 10]


def by_hand():
    is_mass = torch.zeros(15)
    is_mass[MASSES] = 1
    given = {"B_MASS": 4.8, "REAL": {"dtype": torch.float64}, "is_mass": is_mass, "ndtr": ndtr, "ndtri": ndtri}
    given |= {"TOP_MASS": TOP_MASS, "TOP_WIDTH": TOP_WIDTH, "W_MASS": W_MASS, "W_WIDTH": W_WIDTH, "np": np}
    given |= {"kinematics": kinematics, "itertools": itertools, "linear_sum_assignment": linear_sum_assignment}
    return defined_in("08b", DEFINED, **given)


def numbers(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_path_and_step_by_hand_are_the_package_s():
    tools, x_0, x_1, t = by_hand(), numbers(7, 3), numbers(7, 3, seed=4), torch.linspace(0, 1, 7, dtype=torch.float64)
    for hand, package in zip(tools["path_batch"](x_0, x_1, t), lt.flow_matching.linear_path(x_0, x_1, t)):
        torch.testing.assert_close(hand, package)

    def velocity(x, t):
        return torch.sin(x) - t * x

    package = lt.flow_matching.rk4_step(velocity, x_0, 0.2, 0.3)
    torch.testing.assert_close(tools["runge_kutta_step"](velocity, x_0, 0.2, 0.3), package)


def test_the_losses_by_hand_are_the_package_s():
    tools, model = by_hand(), lt.flow_matching.FlowMatching(15, hidden=(16,))
    batch = {"natural": numbers(64, 15).float(), "on-shell": numbers(64, 15, seed=4).float()}
    for smearing, x_0 in ((None, None), (0.0, batch["on-shell"])):
        torch.manual_seed(1)
        hand = tools["flow_loss"](model, batch, smearing)
        torch.manual_seed(1)
        if x_0 is not None:
            torch.randn(64, 15)  # the noise of a smearing of zero
        package = lt.flow_matching.flow_matching_loss(model, batch["natural"], x_0=x_0)
        torch.testing.assert_close(hand, package)


def test_every_point_is_an_event_and_comes_back():
    tools, z = by_hand(), numbers(2000, 15)
    z[:, 0] = 4.6 + 0.7 * z[:, 0]  # log pT
    partons = tools["decode"](z)
    masses = kinematics.mass(partons)
    torch.testing.assert_close(masses[:, [0, 3]], torch.full((2000, 2), 4.8, dtype=torch.float64), rtol=0, atol=2e-3)
    assert masses[:, [1, 2, 4, 5]].max() < 0.05
    assert kinematics.pt(partons.sum(1)).max() < 1e-6
    usual = (z[:, 1:].abs() < 3).all(1)
    torch.testing.assert_close(tools["encode"](partons)[usual], z[usual], rtol=0, atol=1e-4)


def test_moving_on_shell_changes_the_masses_alone():
    tools, z = by_hand(), numbers(500, 15)
    z[:, 0] = 4.6 + 0.7 * z[:, 0]
    partons = tools["decode"](z)
    moved = torch.cat([torch.stack(on_shell(*part.unbind(1)), 1) for part in partons.split(3, dim=1)], 1)
    again = tools["encode"](moved)
    others = [i for i in range(15) if i not in MASSES]
    torch.testing.assert_close(again[:, others], z[:, others], rtol=0, atol=1e-4)
    assert again[:, MASSES].std(0).max() < 1e-4


def test_only_the_masses_are_smeared_and_starts_are_used_once():
    tools, x = by_hand(), numbers(40, 15).float()
    moved = (tools["smear"](x, 0.5) - x).std(0)
    assert set((moved > 0).nonzero()[:, 0].tolist()) == set(MASSES)
    for pairing in ("matched", "shuffled", "transport"):
        paired = tools["pair_up"](x, x.flip(0), pairing)
        torch.testing.assert_close(paired.sort(0).values, x.sort(0).values)
    torch.testing.assert_close(tools["pair_up"](x, x.flip(0), "transport"), x.flip(0))
