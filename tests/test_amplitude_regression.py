"""Tutorial 01a: what it builds by hand equals what the package offers from then on."""

import torch
from by_hand import defined_in

import lhcml_tutor as lt
from lhcml_tutor.datasets.amplitudes import make_amplitudes

DEFINED = ("mandelstam", "pair_products", "mlp", "training_step", "train", "sort_particles", "relative_deviation")


def by_hand():
    """Return the functions that 01a defines by hand."""
    return defined_in("01a", DEFINED, Q=400.0)


def sample(n=1000, seed=5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator)
    return x, torch.sin(x).sum(dim=1)


def test_the_network_by_hand_is_the_package_s_mlp():
    lt.seed_everything(3)
    hand = by_hand()["mlp"](6)
    lt.seed_everything(3)
    package = lt.layers.MLP(6, 1, hidden=(64, 64, 64))
    x, _ = sample(20)
    assert torch.equal(hand(x), package(x))


def test_the_loop_by_hand_is_fit_without_warm_up_and_clipping():
    tools = by_hand()
    x, y = sample()
    models = []
    for _ in range(2):
        lt.seed_everything(1)
        models.append(tools["mlp"](6))
    losses = tools["train"](models[0], x, y, steps=60, batch_size=128, learning_rate=1e-2, seed=7)

    def mse(model, batch):
        return ((model(batch["x"]).squeeze(-1) - batch["y"]) ** 2).mean()

    history = lt.fit(
        models[1], mse, {"x": x, "y": y}, steps=60, batch_size=128, learning_rate=1e-2, warmup=0, clip=None, seed=7,
        progress=False,
    )  # fmt: skip
    torch.testing.assert_close(losses, torch.as_tensor(history.loss, dtype=losses.dtype), rtol=1e-4, atol=1e-6)
    for hand, package in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(hand, package, rtol=1e-3, atol=1e-5)


def test_another_seed_gives_another_training():
    """The control of the parity test: it would see a different order of the events."""
    tools = by_hand()
    x, y = sample()
    losses = []
    for seed in (7, 8):
        lt.seed_everything(1)
        losses.append(tools["train"](tools["mlp"](6), x, y, steps=20, batch_size=128, seed=seed))
    assert not torch.allclose(losses[0], losses[1], rtol=1e-2)


def test_mandelstam_by_hand_is_the_package_s():
    momenta = make_amplitudes("qqbar_zg", n=100, seed=2)["momenta"]
    for hand, package in zip(by_hand()["mandelstam"](momenta), lt.kinematics.mandelstam(momenta), strict=True):
        torch.testing.assert_close(hand, package)


def test_sorting_keeps_the_particles_and_the_amplitude():
    sample = make_amplitudes("qqbar_zgg", n=200, seed=2)
    ordered = by_hand()["sort_particles"](sample["momenta"])
    assert (ordered[:, 3, 0] >= ordered[:, 4, 0]).all()
    products = lt.kinematics.dot(ordered[:, :2], ordered[:, 3:4])
    assert (products[:, 0] <= products[:, 1]).all()
    amplitude = lt.physics.amplitudes.qqbar_to_z_gluons(ordered)
    torch.testing.assert_close(amplitude, sample["amplitude"], rtol=1e-9, atol=0)


def test_invariants_by_hand_do_not_depend_on_the_observer():
    momenta = make_amplitudes("qqbar_zgg", n=100, seed=2)["momenta"]
    frames = lt.kinematics.random_lorentz(100, torch.Generator().manual_seed(1))
    pair_products = by_hand()["pair_products"]
    moved = pair_products(lt.kinematics.transform(frames, momenta))
    torch.testing.assert_close(moved, pair_products(momenta), rtol=1e-7, atol=1e-9)
    euclidean = pair_products(lt.kinematics.transform(frames, momenta), (1.0, 1.0, 1.0, 1.0))
    assert not torch.allclose(euclidean, pair_products(momenta, (1.0, 1.0, 1.0, 1.0)), rtol=0.1)
