"""fit against a loop by hand and torch's own schedulers: steps, batches, validation, record, what is printed."""

import io
import itertools
import math
import sys
import time

import numpy as np
import pytest
import torch
from fits import QUIET, mse, network, sample, weights
from torch import nn

from lhcml_tutor import training
from lhcml_tutor.training import batches as batches_module
from lhcml_tutor.training import progress
from lhcml_tutor.training.batches import Batches

# --- the loop itself -------------------------------------------------------------------------------------------------


def by_hand(model, data, steps, batch_size, clip=None, schedulers=None, learning_rate=1e-2, fused=True):
    """The loop of chapter 1, with torch's own schedulers where asked."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0, fused=fused)
    schedule = schedulers and schedulers(optimizer)
    generator = torch.Generator().manual_seed(1)
    losses, rates, n = [], [], len(data["x"])
    while len(losses) < steps:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            optimizer.zero_grad()
            loss = mse(model, {"x": data["x"][rows], "y": data["y"][rows]})
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if schedule:
                schedule.step()
            losses.append(loss.item())
    return np.array(losses[:steps]), np.array(rates[:steps])


def test_fit_is_the_loop_by_hand_when_all_is_switched_off():
    data, one, two = sample(), network(), network()
    losses, _ = by_hand(one, data, steps=30, batch_size=32)  # 5 epochs of 6 batches, 8 rows left out in each
    history = training.fit(
        two, mse, data, steps=30, batch_size=32, learning_rate=1e-2, warmup=0, schedule=None, clip=None, **QUIET
    )
    assert np.array_equal(history.loss, losses)
    assert torch.equal(weights(one), weights(two))
    assert history.gradient_norm is None

    plain, _ = by_hand(network(), data, steps=30, batch_size=32, fused=None)  # as chapter 1 writes it
    assert np.allclose(plain, losses, rtol=1e-5)


def test_fit_is_the_loop_by_hand_with_torch_schedulers_and_clipping():
    def schedulers(optimizer):
        rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 6, total_iters=5)
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=54)
        return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[6])

    data, one, two = sample(), network(), network()
    losses, rates = by_hand(one, data, steps=60, batch_size=32, clip=0.5, schedulers=schedulers)
    history = training.fit(two, mse, data, steps=60, batch_size=32, learning_rate=1e-2, warmup=0.1, clip=0.5, **QUIET)
    assert np.allclose(history.learning_rate, rates, rtol=1e-9)
    assert np.allclose(history.loss, losses, rtol=1e-4)
    assert torch.allclose(weights(one), weights(two), atol=1e-5)
    assert (history.gradient_norm[:5] > 0.5).all()  # so clipping did something
    unclipped, _ = by_hand(network(), data, steps=60, batch_size=32, schedulers=schedulers)
    assert not np.allclose(history.loss, unclipped, rtol=1e-3)  # planted: clipping forgotten


def test_values_of_the_schedule():
    rate = [training.learning_rate_at(s, steps=100, learning_rate=2.0, warmup=0.1) for s in range(1, 101)]
    assert rate[0] == pytest.approx(0.2) and rate[9] == 2.0 and rate[10] == 2.0  # full rate at steps 10 and 11
    assert rate[55] == pytest.approx(1.0)  # half way down
    assert 0 < rate[-1] < 1e-3 and all(a >= b for a, b in itertools.pairwise(rate[10:]))
    constant = [training.learning_rate_at(s, steps=100, learning_rate=2.0, schedule=None) for s in (1, 5, 6, 100)]
    assert constant == [0.4, 2.0, 2.0, 2.0]
    assert training.learning_rate_at(1, steps=1, learning_rate=2.0) == 2.0


# --- batches ---------------------------------------------------------------------------------------------------------


def draw(count, n=10, size=3, seed=1, **other):
    stream = iter(Batches({"x": torch.arange(n), "y": 10 * torch.arange(n)}, size, seed, **other))
    return [next(stream) for _ in range(count)]


def test_an_epoch_holds_every_row_once_and_leaves_the_incomplete_batch_out():
    drawn = torch.stack([batch["x"] for batch in draw(6)])  # two epochs of three batches
    for epoch in (drawn[:3], drawn[3:]):
        assert len(set(epoch.flatten().tolist())) == 9
    assert not torch.equal(drawn[:3], drawn[3:])  # a new order each epoch
    assert torch.equal(drawn, torch.stack([batch["x"] for batch in draw(6)]))  # the same for the same seed
    assert not torch.equal(drawn, torch.stack([batch["x"] for batch in draw(6, seed=2)]))


def test_rows_of_all_tensors_stay_together():
    assert all(torch.equal(batch["y"], 10 * batch["x"]) for batch in draw(6))


def test_a_sample_smaller_than_a_batch_is_used_whole():
    assert all(sorted(batch["x"].tolist()) == list(range(10)) for batch in draw(3, size=1000))


def test_blocks_do_not_change_the_batches(monkeypatch):
    whole = draw(30, n=100)
    monkeypatch.setattr(batches_module, "BLOCK_BYTES", 1)
    assert all(torch.equal(a["x"], b["x"]) for a, b in zip(whole, draw(30, n=100), strict=True))


@pytest.mark.parametrize("used", [0, 2, 3, 4])
def test_batches_go_on_where_they_stopped(used):
    data = {"x": torch.arange(10)}
    first = Batches(data, 3, seed=1)
    stream = iter(first)
    for _ in range(used):
        next(stream)
    second = Batches(data, 3, seed=99)
    second.load_state_dict(first.state_dict())
    resumed = iter(second)
    assert all(torch.equal(next(stream)["x"], next(resumed)["x"]) for _ in range(7))


# --- validation and best weights -------------------------------------------------------------------------------------


def overfit(**options):
    """Noise cannot be learned: the validation loss falls at first and then rises."""
    data, valid = sample(40), sample(2500, seed=9)
    generator = torch.Generator().manual_seed(3)
    data["y"] = data["y"] + 3 * torch.randn(40, 1, generator=generator)
    model = network()
    settings = {"steps": 300, "batch_size": 40, "learning_rate": 2e-2, "validate_every": 25, **QUIET}
    return model, valid, training.fit(model, mse, data, valid, **{**settings, **options})


def test_best_weights_are_restored_and_the_validation_loss_is_the_mean_over_rows():
    model, valid, history = overfit()
    assert history.valid_steps.tolist() == list(range(25, 301, 25))
    assert history.best_loss == history.valid_loss.min() < 0.9 * history.valid_loss[-1]  # so best is not last
    assert history.best_step == history.valid_steps[history.valid_loss.argmin()]
    with torch.no_grad():
        assert float(mse(model, valid)) == pytest.approx(history.best_loss, rel=1e-5)
    assert not model.training


def test_last_weights_are_kept_where_asked():
    model, valid, history = overfit(keep_best=False)
    with torch.no_grad():
        assert float(mse(model, valid)) == pytest.approx(history.valid_loss[-1], rel=1e-5)
    assert history.best_loss < history.valid_loss[-1]


def test_without_validation_there_is_no_best():
    history = training.fit(network(), mse, sample(), steps=5, batch_size=32, **QUIET)
    assert history.best_step is None and history.best_loss is None and history.valid_loss is None


def test_validation_uses_equal_noise_and_leaves_the_noise_of_training_alone():
    seen = {True: [], False: []}

    def noisy(model, batch):
        noise = torch.randn_like(batch["x"])
        seen[model.training].append(noise)
        return (model(batch["x"] + noise) - batch["y"]).square().mean()

    def run(valid):
        model = network()
        return training.fit(model, noisy, sample(), valid, steps=20, batch_size=32, validate_every=5, **QUIET)

    with_validation = run(sample(50, seed=5))
    assert len(seen[False]) == 4 and all(torch.equal(noise, seen[False][0]) for noise in seen[False])
    assert not torch.equal(seen[True][0], seen[True][1])
    assert np.array_equal(with_validation.loss, run(None).loss)


def test_a_validation_loss_that_is_not_finite_warns_and_is_not_the_best():
    calls = []

    def sometimes(model, batch):
        calls.append(not model.training)
        bad = not model.training and sum(calls) == 2
        return mse(model, batch) + (math.inf if bad else 0)

    with pytest.warns(UserWarning, match="validation loss after step 10 is inf"):
        history = training.fit(
            network(), sometimes, sample(), sample(), steps=15, batch_size=32, validate_every=5, **QUIET
        )
    assert history.best_step == 15 and math.isinf(history.valid_loss[1])


# --- the record ------------------------------------------------------------------------------------------------------


def test_terms_of_a_dict_loss_are_recorded_and_their_sum_is_minimised():
    def terms(model, batch):
        return {"fit": mse(model, batch), "loss": 0.1 * model.layers[0].weight.square().sum()}

    history = training.fit(network(), terms, sample(), steps=12, batch_size=32, **QUIET)
    assert list(history.terms) == ["fit", "loss"]
    assert np.allclose(history.loss, history.terms["fit"] + history.terms["loss"])
    alone = network()
    whole = training.fit(alone, lambda m, b: sum(terms(m, b).values()), sample(), steps=12, batch_size=32, **QUIET)
    assert np.allclose(whole.loss, history.loss) and not whole.terms
    assert history.steps.tolist() == list(range(1, 13)) and history.seconds > 0


def test_seed_is_that_of_the_parameters_unless_given(monkeypatch):
    def curve(**seed):
        return training.fit(network(), mse, sample(), steps=8, batch_size=32, progress=False, **seed).loss

    monkeypatch.setattr(training.parameters, "current", {"seed": 7})
    assert np.array_equal(curve(), curve(seed=7))
    assert not np.array_equal(curve(), curve(seed=1))
    monkeypatch.setattr(training.parameters, "current", {})
    assert np.array_equal(curve(), curve(seed=1))


def test_fit_works_where_gradients_are_switched_off_outside():
    with torch.no_grad():
        history = training.fit(network(), mse, sample(), steps=40, batch_size=64, learning_rate=1e-2, **QUIET)
    assert history.loss[-1] < history.loss[0]


# --- what is printed -------------------------------------------------------------------------------------------------


def test_one_line_at_the_end_and_none_where_switched_off(capsys):
    history = training.fit(network(), mse, sample(), steps=5, batch_size=32, label="my network", seed=1)
    assert capsys.readouterr().out == f"{history}\n"
    assert str(history).startswith("my network: 5 steps in ")
    training.fit(network(), mse, sample(), steps=5, batch_size=32, **QUIET)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_bar_shows_the_time_left_and_is_not_drawn_at_every_step(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "INTERVAL", 0.05)

    def slow(model, batch):
        time.sleep(0.002)
        return mse(model, batch)

    training.fit(network(), slow, sample(), steps=100, batch_size=32, seed=1)
    drawn = terminal.getvalue()
    assert "training:" in drawn and "<00:0" in drawn and "loss" in drawn  # elapsed<left, then the loss
    assert drawn.count("\r") < 30
