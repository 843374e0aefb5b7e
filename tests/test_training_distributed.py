"""Two gloo processes on the CPU train together and get what one process gets.

This file is also the script that the two processes run, in the environment that torchrun gives.
"""

import contextlib
import io
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import QUIET, at_step, mse, network, sample, weights
from torch import nn

from lhcml_tutor import training


def gradient(model):
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def first_gradient(folder, batch_size=32):
    """One step: the gradient is still in the parameters."""
    model = network()
    training.fit(model, mse, sample(), steps=1, batch_size=batch_size, clip=None, **QUIET)
    return {"gradient": gradient(model)}


def uneven_gradient(folder):
    """31 rows are 15 and 16."""
    return first_gradient(folder, batch_size=31)


def one_epoch(folder):
    """200 rows are 6 batches of 32 and an incomplete one, which is left out."""
    model = network(seed=int(os.environ.get("RANK", 0)))  # the weights of the first process count
    terms = lambda model, batch: {"data": mse(model, batch), "size": 0.01 * model.layers[0].weight.square().sum()}  # noqa: E731
    history = training.fit(
        model, terms, sample(), sample(1500, seed=4), steps=6, batch_size=32, learning_rate=1e-2, validate_every=2,
        **QUIET,
    )  # fmt: skip
    numbers = {"loss": history.loss, "size": history.terms["size"], "valid": history.valid_loss}
    return {"weights": weights(model), "mode": model.training, **numbers}


def whole_sample(folder):
    """51 rows are fewer than a batch: all of them at each step, 25 and 26."""
    model = network()
    history = training.fit(model, mse, sample(51), steps=5, batch_size=512, learning_rate=1e-2, **QUIET)
    return {"weights": weights(model), "loss": history.loss}


def noise(folder):
    """Each process draws its own noise, and all agree on random numbers afterwards."""
    drawn = []

    def loss(model, batch):
        number = torch.randn(())
        if model.training:
            drawn.append(number)
        return mse(model, batch)

    torch.manual_seed(3)
    training.fit(network(), loss, sample(), steps=3, batch_size=32, **QUIET)
    assert len(drawn) == 3
    return {"drawn": torch.stack(drawn), "after": torch.rand(())}


def resumed(folder):
    """A training stopped at step 13 goes on from its checkpoint; batch norm and noise make it depend on all state."""

    def start(loss, **options):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Dropout(0.2), nn.Linear(8, 1))
        history = training.fit(
            model, loss, sample(), sample(50, seed=4), steps=24, batch_size=32, validate_every=5, **QUIET, **options
        )
        return {"weights": weights(model), "loss": history.loss}

    def stop(model, value):
        raise InterruptedError

    with contextlib.suppress(InterruptedError):
        start(at_step(13, stop), checkpoint=Path(folder) / "fit.pt")
    whole = start(mse)
    again = start(mse, checkpoint=Path(folder) / "fit.pt")
    return {"whole": whole, "again": again, "files": [file.name for file in Path(folder).glob("*fit*")]}


def divergence(folder):
    """Rows of one process alone make the loss infinite: both must stop, at the same step."""
    spoil = lambda model, value: value * (float("inf") if os.environ.get("RANK") == "1" else 1)  # noqa: E731
    try:
        training.fit(network(), at_step(4, spoil), sample(), steps=8, batch_size=32, **QUIET)
    except training.TrainingDiverged as problem:
        return {"step": problem.step}


def unused_parameter(folder):
    model = network()
    model.idle = nn.Linear(1, 1)
    history = training.fit(
        model, lambda m, b: (m.layers(b["x"]) - b["y"]).square().mean(), sample(), steps=3, batch_size=32, **QUIET
    )
    return {"loss": history.loss}


def printed(folder):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        training.fit(network(), mse, sample(), steps=3, batch_size=32, seed=1)
    return {"text": out.getvalue()}


def too_many_processes(folder):
    try:
        training.fit(network(), mse, sample(), steps=3, batch_size=1, **QUIET)
    except ValueError as problem:
        return {"text": str(problem)}


TRAIN = [first_gradient, uneven_gradient, one_epoch, whole_sample]
CASES = [*TRAIN, noise, resumed, divergence, unused_parameter, printed, too_many_processes]


def main(folder):
    torch.set_num_threads(1)
    results = {case.__name__: case(folder) for case in CASES}
    torch.save(results, Path(folder) / f"rank{os.environ['RANK']}.pt")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Run all cases once in two processes; return what each of them found."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = []
    for rank in ("0", "1"):
        environment = {**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank, "LHCML_DEVICE": "cpu"}
        command = [sys.executable, __file__, str(folder)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True))
    try:
        texts = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(texts)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.parametrize("case", TRAIN)
def test_two_processes_get_what_one_gets(ranks, case, tmp_path, monkeypatch):
    monkeypatch.setenv("LHCML_DEVICE", "cpu")
    alone = case(tmp_path)
    for found in ranks:
        for name, value in alone.items():
            assert np.allclose(found[case.__name__][name], value, rtol=2e-5, atol=1e-6), name


def test_the_comparison_sees_parts_that_are_averaged_without_their_sizes(ranks):
    """Planted: the plain mean of the gradients of 15 and 16 rows is not that of 31, by far more than rounding."""
    data = sample()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))[:31]
    parts = []
    for rows in (order[:15], order[15:]):
        model = network()
        mse(model, {name: values[rows] for name, values in data.items()}).backward()
        parts.append(gradient(model))
    right = (15 * parts[0] + 16 * parts[1]) / 31
    assert np.allclose(ranks[0]["uneven_gradient"]["gradient"], right, rtol=2e-5, atol=1e-6)
    assert not np.allclose((parts[0] + parts[1]) / 2, right, rtol=1e-3, atol=1e-4)


def test_both_processes_end_with_equal_weights(ranks):
    assert torch.equal(ranks[0]["one_epoch"]["weights"], ranks[1]["one_epoch"]["weights"])


def test_each_process_draws_its_own_noise_and_they_agree_afterwards(ranks):
    first, second = (found["noise"] for found in ranks)
    assert not np.isclose(first["drawn"], second["drawn"]).any()
    assert first["after"] == second["after"]


def test_a_stopped_training_goes_on_with_the_same_numbers(ranks):
    for found in ranks:
        whole, again = found["resumed"]["whole"], found["resumed"]["again"]
        assert np.array_equal(whole["loss"], again["loss"])
        assert torch.equal(whole["weights"], again["weights"])
        assert found["resumed"]["files"] == ["fit.pt"]


def test_both_processes_stop_at_the_same_step(ranks):
    assert [found["divergence"]["step"] for found in ranks] == [4, 4]


def test_a_parameter_that_is_not_used_is_no_error(ranks):
    assert np.isfinite(ranks[0]["unused_parameter"]["loss"]).all()


def test_only_the_first_process_prints(ranks):
    assert ranks[0]["printed"]["text"].startswith("training: 3 steps in ")
    assert ranks[1]["printed"]["text"] == ""


def test_batches_smaller_than_the_number_of_processes_are_refused(ranks):
    for found in ranks:
        assert found["too_many_processes"]["text"].startswith("2 processes cannot share batches of 1 rows")


if __name__ == "__main__":
    main(sys.argv[1])
