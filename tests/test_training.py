"""fit against a loop by hand and torch's own schedulers; what it records, restores, says and refuses."""

import io
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from lhcml_tutor import training
from lhcml_tutor.layers import MLP
from lhcml_tutor.training import batches as batches_module
from lhcml_tutor.training import checkpoints, loop, progress
from lhcml_tutor.training.batches import Batches
from lhcml_tutor.training.precision import Precision

QUIET = {"progress": False, "seed": 1}


def sample(n=200, seed=0):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return {"x": x, "y": x.square().sum(1, keepdim=True)}


def network(seed=0):
    torch.manual_seed(seed)
    return MLP(3, 1, hidden=(16, 16))


def mse(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean()


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


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
    assert 0 < rate[-1] < 1e-3 and all(a >= b for a, b in zip(rate[10:], rate[11:], strict=False))
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
        return {"fit": mse(model, batch), "loss": 0.1 * model[0].weight.square().sum()}

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


# --- divergence ------------------------------------------------------------------------------------------------------


def at_step(k, action, base=mse):
    """Return a loss that does something else at training step k."""
    calls = []

    def loss(model, batch):
        if model.training:
            calls.append(1)
        value = base(model, batch)
        return action(model, value) if len(calls) == k and model.training else value

    return loss


@pytest.mark.parametrize("k", [1, 37, 50, 51, 80])
def test_divergence_names_the_exact_step(k):
    bad = at_step(k, lambda model, value: value * math.inf)
    with pytest.raises(training.TrainingDiverged, match=f"the loss not finite at step {k} of 80") as caught:
        training.fit(network(), bad, sample(), steps=80, batch_size=32, clip=None, **QUIET)
    error = caught.value
    assert error.step == k and error.term == "the loss"
    assert error.learning_rate == training.learning_rate_at(k, steps=80, learning_rate=1e-3)
    assert len(error.history.loss) == k and not np.isfinite(error.history.loss[-1])
    assert ("clip=1.0" in str(error)) == (k > 1)
    assert ("before any parameter has moved" in str(error)) == (k == 1)


def test_divergence_names_the_term_and_restores_the_best_weights():
    def terms(model, batch):
        return {"likelihood": mse(model, batch), "prior": model[0].weight.square().sum()}

    def spoil(model, value):
        return {**value, "prior": value["prior"] + math.nan}

    model, valid = network(), sample(seed=4)
    message = r"the term 'prior' not finite at step 43 .* The model has its best weights, of step 40"
    with pytest.raises(training.TrainingDiverged, match=message):
        training.fit(
            model, at_step(43, spoil, terms), sample(), valid, steps=80, batch_size=32, validate_every=20, **QUIET
        )
    assert weights(model).isfinite().all()


def test_a_gradient_that_is_not_finite_is_named_where_the_loss_still_is():
    def spoil(model, value):
        return value + (0 * model[0].weight).sqrt().sum()  # worth zero, with the gradient 0 * inf

    with pytest.raises(training.TrainingDiverged, match="the gradient not finite at step 22 of 80"):
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

DROPOUT = """
import os, signal, sys, torch
sys.path.insert(0, sys.argv[2])
import test_training as tests
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
    command = [sys.executable, "-c", DROPOUT, str(path), os.path.dirname(__file__), "43"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert killed.returncode == -9, killed.stderr
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


# --- mixed precision and memory --------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is what happens without CUDA")
def test_mixed_precision_without_cuda_warns_and_is_full_precision():
    settings = {"steps": 10, "batch_size": 32, **QUIET}
    with pytest.warns(UserWarning, match="goes on in full precision"):
        mixed = training.fit(network(), mse, sample(), mixed_precision=True, **settings)
    assert np.array_equal(mixed.loss, training.fit(network(), mse, sample(), **settings).loss)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_code_path_of_mixed_precision_on_the_cpu(name, monkeypatch, tmp_path):
    """Dry run: the same autocast and scaler that CUDA uses, which the CPU has but does not gain from."""

    class OnCpu(Precision):
        def __init__(self, mixed, device):
            self.set(mixed or "full", "cpu")

    types = []

    def loss(model, batch):
        prediction = model(batch["x"])
        types.append(prediction.dtype)
        return (prediction.float() - batch["y"]).square().mean()

    monkeypatch.setattr(training, "Precision", OnCpu)
    settings = {"steps": 100, "batch_size": 64, "learning_rate": 1e-2, **QUIET}
    full = training.fit(network(), mse, sample(), **settings)
    path = tmp_path / "fit.pt"
    model = network()
    mixed = training.fit(model, loss, sample(), mixed_precision=name, checkpoint=path, **settings)
    assert set(types) == {getattr(torch, name)}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert mixed.loss[-10:].mean() == pytest.approx(full.loss[-10:].mean(), rel=0.2)
    assert not np.array_equal(mixed.loss, full.loss)
    assert ("scale" in torch.load(path, weights_only=True)["precision"]) == (name == "float16")


def test_out_of_memory_says_what_to_lower():
    def full(model, value):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(MemoryError, match="batch_size=32; lower it, for example to 16"):
        training.fit(network(), at_step(1, full), sample(), steps=8, batch_size=32, **QUIET)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
@pytest.mark.parametrize("mixed", [False, "bfloat16", "float16"])
def test_on_cuda(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "WINDOW", 20)
    settings = {"steps": 400, "batch_size": 64, "learning_rate": 1e-2, "mixed_precision": mixed, **QUIET}
    model = network()
    history = training.fit(model, mse, sample(2000), sample(500, seed=4), checkpoint=tmp_path / "fit.pt", **settings)
    assert next(model.parameters()).is_cuda
    assert history.loss[-20:].mean() < 0.1 * history.loss[0]
    again = training.fit(network(), mse, sample(2000), sample(500, seed=4), **settings)
    assert np.allclose(history.loss[:50], again.loss[:50], rtol=0.05)
    with pytest.raises(training.TrainingDiverged, match="at step 37 of 400"):
        training.fit(network(), at_step(37, lambda m, v: v * math.inf), sample(), **settings)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
def test_steps_on_cuda_do_not_wait_for_the_gpu(recwarn):
    torch.cuda.set_sync_debug_mode("warn")
    try:
        training.fit(network(), mse, sample(2000), steps=500, batch_size=64, validate_every=500, **QUIET)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [warning for warning in recwarn.list if "synchroniz" in str(warning.message)]
    assert len(waits) < 100  # a few per window of 50 steps, none per step


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
def test_cuda_out_of_memory_is_explained():
    def greedy(model, batch):
        return mse(model, batch) + torch.zeros(2**40, device="cuda").sum()

    with pytest.raises(MemoryError, match="lower it, for example to 16"):
        training.fit(network(), greedy, sample(), steps=8, batch_size=32, **QUIET)


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
