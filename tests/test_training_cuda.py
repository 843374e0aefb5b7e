"""Mixed precision, GPU memory and waiting for the GPU; the parts that need CUDA are skipped without it."""

import math

import numpy as np
import pytest
import torch
from fits import QUIET, at_step, mse, network, sample

from lhcml_tutor import training
from lhcml_tutor.training import loop
from lhcml_tutor.training.precision import Precision


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
