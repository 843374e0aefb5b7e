"""What ends a training early, and how it goes on: divergence, the keyboard, a killed process."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from fits import QUIET, at_step, mse, network, sample, weights
from torch import nn

from lhcml_tutor import training
from lhcml_tutor.training import checkpoints

# --- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 37, 50, 51, 80])
def test_divergence_names_the_exact_step(k):
    bad = at_step(k, lambda model, value: value * math.inf)
    with pytest.raises(training.TrainingDiverged, match=f"the loss is not finite at step {k} of 80") as caught:
        training.fit(network(), bad, sample(), steps=80, batch_size=32, clip=None, **QUIET)
    error = caught.value
    assert error.step == k and error.term == "the loss"
    assert error.learning_rate == training.learning_rate_at(k, steps=80, learning_rate=1e-3)
    assert len(error.history.loss) == k and not np.isfinite(error.history.loss[-1])
    assert ("clip=1.0" in str(error)) == (k > 1) and "The model is spoilt, make it anew" in str(error)
    assert ("before any parameter has moved" in str(error)) == (k == 1)


def test_divergence_names_the_term_and_restores_the_best_weights():
    def terms(model, batch):
        return {"likelihood": mse(model, batch), "prior": model.layers[0].weight.square().sum()}

    def spoil(model, value):
        return {**value, "prior": value["prior"] + math.nan}

    model, valid = network(), sample(seed=4)
    message = r"the term 'prior' is not finite at step 43 .* The model has its best weights, of step 40"
    with pytest.raises(training.TrainingDiverged, match=message):
        training.fit(
            model, at_step(43, spoil, terms), sample(), valid, steps=80, batch_size=32, validate_every=20, **QUIET
        )
    assert weights(model).isfinite().all()


def test_a_gradient_that_is_not_finite_is_named_where_the_loss_still_is():
    def spoil(model, value):
        return value + (0 * model.layers[0].weight).sqrt().sum()  # worth zero, with the gradient 0 * inf

    with pytest.raises(training.TrainingDiverged, match="the gradient is not finite at step 22 of 80"):
        training.fit(network(), at_step(22, spoil), sample(), steps=80, batch_size=32, **QUIET)


def test_a_true_divergence_is_found():
    with pytest.raises(training.TrainingDiverged, match="a smaller learning_rate"):
        training.fit(
            nn.Linear(3, 1), lambda m, b: mse(m, b).exp(), sample(), steps=300, batch_size=32, learning_rate=10.0,
            warmup=0, schedule=None, clip=None, **QUIET,
        )  # fmt: skip


# --- stopping from the keyboard --------------------------------------------------------------------------------------


def interrupt(model, value):
    raise KeyboardInterrupt


def test_stopping_keeps_best_weights_and_history(monkeypatch, capsys):
    monkeypatch.setenv("LHCML_STRICT", "0")
    model, valid = network(), sample(seed=4)
    loss = at_step(31, interrupt)
    history = training.fit(model, loss, sample(), valid, steps=80, batch_size=32, validate_every=10, seed=1)
    assert history.interrupted and len(history.loss) == 30 and history.best_step == 30
    assert "stopped at step 30 of 80; the model has its best weights, of step 30" in capsys.readouterr().out
    with torch.no_grad():
        assert float(mse(model, valid)) == pytest.approx(history.best_loss, rel=1e-5)


def test_stopping_ends_a_run_whose_verdicts_are_recorded(monkeypatch):
    monkeypatch.setenv("LHCML_STRICT", "1")
    with pytest.raises(KeyboardInterrupt):
        training.fit(network(), at_step(3, interrupt), sample(), steps=8, batch_size=32, **QUIET)


# --- checkpoints -----------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys, torch
sys.path.insert(0, sys.argv[2])
import test_training_stops as tests
tests.noisy_fit(sys.argv[1], kill_at=int(sys.argv[3]))
"""


def noisy_fit(checkpoint=None, kill_at=None, **changed):
    """A training with noise in the model, the loss and the order of rows."""
    torch.manual_seed(5)
    model = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 1))
    calls = []

    def loss(model, batch):
        calls.append(1)
        if kill_at and len(calls) == kill_at:
            os.kill(os.getpid(), 9)
        return mse(model, {"x": batch["x"] + 0.1 * torch.randn_like(batch["x"]), "y": batch["y"]})

    settings = {"steps": 60, "batch_size": 32, "validate_every": 8, "checkpoint": checkpoint, **QUIET, **changed}
    history = training.fit(model, loss, sample(), sample(64, seed=4), **settings)
    return history, weights(model), torch.rand(1), len(calls)


@pytest.fixture(scope="module")
def uninterrupted():
    torch.set_num_threads(1)
    return noisy_fit()


def test_killed_in_the_middle_and_started_again_gives_the_same_curve(tmp_path, uninterrupted):
    path = tmp_path / "fit.pt"
    command = [sys.executable, "-c", KILLED, str(path), os.path.dirname(__file__), "43"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert killed.returncode in (-9, 9), killed.stderr
    assert torch.load(path, weights_only=True)["step"] == 32  # calls 43 = 39 steps and 4 validations
    history, end, noise, calls = noisy_fit(path)
    whole, end_whole, noise_whole, calls_whole = uninterrupted
    assert calls < calls_whole / 2 + 5  # it did not start anew
    assert np.array_equal(history.loss, whole.loss)
    assert np.array_equal(history.gradient_norm, whole.gradient_norm)
    assert np.array_equal(history.valid_loss, whole.valid_loss)
    assert np.array_equal(history.learning_rate, whole.learning_rate)
    assert (history.best_step, history.best_loss) == (whole.best_step, whole.best_loss)
    assert torch.equal(end, end_whole) and torch.equal(noise, noise_whole)
    assert [file.name for file in tmp_path.iterdir()] == ["fit.pt"]


@pytest.mark.parametrize("part", ["batches", "optimizer", "random"])
def test_each_part_of_a_checkpoint_counts(tmp_path, monkeypatch, uninterrupted, part):
    """Planted: a checkpoint that forgets one part gives another curve."""
    path = tmp_path / "fit.pt"
    save = checkpoints.save

    def save_and_stop(path, content):
        save(path, content)
        if content["step"] == 32:
            raise InterruptedError

    monkeypatch.setattr(checkpoints, "save", save_and_stop)
    with pytest.raises(InterruptedError):
        noisy_fit(path)
    monkeypatch.setattr(checkpoints, "save", save)
    content = torch.load(path, weights_only=True)
    if part == "batches":
        content["batches"]["used"] -= 1
    elif part == "optimizer":
        content["optimizer"]["state"][0]["exp_avg"].zero_()
    else:
        content["random"][0]["cpu"] = torch.Generator().manual_seed(0).get_state()
    torch.save(content, path)
    assert not np.array_equal(noisy_fit(path)[0].loss, uninterrupted[0].loss)


def test_a_finished_training_is_read_back(tmp_path, uninterrupted, capsys):
    noisy_fit(tmp_path / "fit.pt")
    history, end, _, calls = noisy_fit(tmp_path / "fit.pt", progress=True)
    assert calls == 0 and torch.equal(end, uninterrupted[1])
    assert np.array_equal(history.loss, uninterrupted[0].loss)
    assert "goes on after step 60 of 60" in capsys.readouterr().out


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "fit.pt"
    checkpoints.save(path, {"step": 1})

    def half(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save(path, {"step": 2})
    assert torch.load(path, weights_only=True)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["fit.pt"]
