"""Bad input to fit: each message names the argument, what is wrong with it, and what to do."""

import math
import pickle

import numpy as np
import pytest
import torch
from fits import QUIET, at_step, mse, network, sample
from torch import nn

from lhcml_tutor import training


class Hidden(nn.Module):
    """A model whose layers stand in a plain list, where torch does not see them."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(3, 1)]


def with_rows(key, rows, value):
    data = sample()
    data[key][rows] = value
    return data


def second(model, value):
    return {"another": value}


def outside(model, batch):
    with torch.no_grad():
        return mse(model, batch)


CASES = {
    "data is a tensor": ({"data": sample()["x"]}, TypeError, "data must be a dict of tensors .* not a Tensor"),
    "empty dict": ({"data": {}}, ValueError, "data is an empty dict"),
    "no rows": ({"data": {"x": torch.zeros(0, 3), "y": torch.zeros(0, 1)}}, ValueError, "no rows; was every event cut"),
    "numpy array": (
        {"data": {"x": np.zeros((5, 3))}},
        TypeError,
        r"data\['x'\] .* not a numpy.ndarray; use torch.as_t",
    ),
    "single number": ({"data": {"x": torch.tensor(1.0)}}, ValueError, r"data\['x'\] is a single number"),
    "unequal lengths": (
        {"data": {"x": torch.zeros(5, 3), "y": torch.zeros(4, 1)}},
        ValueError,
        "tensors of data differ in length .'x': 5, 'y': 4.",
    ),
    "NaN in the data": (
        {"data": with_rows("y", [7, 9], math.nan)},
        ValueError,
        r"data\['y'\] has 2 of 200 rows with NaN or infinity, the first is row 7",
    ),
    "infinity in one feature": (
        {"data": with_rows("x", (3, 1), math.inf)},
        ValueError,
        r"data\['x'\] has 1 of 200 rows with NaN or infinity, the first is row 3",
    ),
    "NaN in valid": ({"valid": with_rows("x", [0], math.nan)}, ValueError, r"valid\['x'\] has 1 of 200 rows"),
    "valid with other entries": (
        {"valid": {"x": sample()["x"]}},
        ValueError,
        "valid has the entries x, but data has x, y",
    ),
    "data with a gradient": (
        {"data": {**sample(), "x": sample()["x"].requires_grad_()}},
        ValueError,
        r"data\['x'\] carries a gradient; hand over x.detach\(\)",
    ),
    "data in float64": (
        {"data": {name: values.double() for name, values in sample().items()}},
        TypeError,
        r"the model has torch.float32, the data x torch.float64, .* \.to\(torch.float32\)",
    ),
    "no steps": ({"steps": 0}, ValueError, "steps must be a positive integer, not 0"),
    "half a step": ({"steps": 1e3}, ValueError, "steps must be a positive integer, not 1000.0"),
    "negative batch": ({"batch_size": -64}, ValueError, "batch_size must be a positive integer, not -64"),
    "negative learning rate": ({"learning_rate": -1e-3}, ValueError, "learning_rate must be positive, not -0.001"),
    "learning rate is NaN": ({"learning_rate": math.nan}, ValueError, "learning_rate must be positive, not nan"),
    "one beta": ({"betas": 0.9}, ValueError, r"betas must be two numbers .* such as \(0.9, 0.95\), not 0.9"),
    "negative decay": ({"weight_decay": -1}, ValueError, "weight_decay must not be negative, it is -1"),
    "warm-up in steps": (
        {"warmup": 100},
        ValueError,
        "warmup is the fraction of the steps .* not 100; 0 switches it off",
    ),
    "unknown schedule": ({"schedule": "linear"}, ValueError, "schedule must be 'cosine' or None .* not 'linear'"),
    "clip of zero": ({"clip": 0}, ValueError, "clip is the largest norm of the gradient, .* or None .* not 0"),
    "seed is text": ({"seed": "one"}, ValueError, "seed must be an integer, .* not 'one'"),
    "precision unknown": (
        {"mixed_precision": "half"},
        ValueError,
        "mixed_precision must be False, True, .* not 'half'",
    ),
    "model is a function": ({"model": torch.square}, TypeError, "model must be a torch.nn.Module"),
    "model without parameters": ({"model": Hidden()}, ValueError, "no trainable parameter; .* torch.nn.ModuleList"),
    "loss is no function": ({"loss": 0.5}, TypeError, r"loss must be a function .model, batch."),
    "loss per row": (
        {"loss": lambda m, b: (m(b["x"]) - b["y"]).square()},
        ValueError,
        r"the loss must be a scalar, its shape is \(32, 1\); average over the rows with .mean\(\)",
    ),
    "term per row": (
        {"loss": lambda m, b: {"a": mse(m, b), "b": m(b["x"])}},
        ValueError,
        r"the term 'b' of the loss must be a scalar, its shape is \(32, 1\)",
    ),
    "loss is a float": ({"loss": lambda m, b: mse(m, b).item()}, TypeError, "the loss is a float, not a tensor; .item"),
    "nothing returned": ({"loss": lambda m, b: None}, TypeError, "the loss is None; is the `return` missing"),
    "empty dict returned": ({"loss": lambda m, b: {}}, ValueError, "the loss returned an empty dict"),
    "loss detached": ({"loss": lambda m, b: mse(m, b).detach()}, ValueError, r"no gradient: .* look for .detach\(\)"),
    "loss without gradient": ({"loss": outside}, ValueError, r"the loss has no gradient: .* torch.no_grad\(\)"),
    "terms detached": (
        {"loss": lambda m, b: {"a": mse(m, b).detach()}},
        ValueError,
        r"the loss \(terms a\) has no grad",
    ),
    "other terms later": (
        {"loss": at_step(3, second)},
        ValueError,
        r"other terms at step 3 \(loss, term another, gradient\) than before \(loss, gradient\)",
    ),
}


def call(**changed):
    arguments = {"model": network(), "loss": mse, "data": sample(), "valid": None, **changed}
    settings = {"steps": 5, "batch_size": 32, **QUIET}
    settings |= {
        name: arguments.pop(name) for name in list(arguments) if name not in ("model", "loss", "data", "valid")
    }
    return training.fit(**arguments, **settings)


@pytest.mark.parametrize("name", CASES)
def test_the_message_names_cause_and_remedy(name):
    changed, kind, message = CASES[name]
    with pytest.raises(kind, match=message):
        call(**changed)


def test_the_case_that_all_of_these_spoil_is_good():
    assert len(call(valid=sample()).loss) == 5


@pytest.fixture
def checkpoint(tmp_path):
    call(checkpoint=tmp_path / "fit.pt")
    return tmp_path / "fit.pt"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": 9}, "of another training: steps is 5 there, 9 here"),
        ({"learning_rate": 0.5, "seed": 2}, "learning_rate is 0.001 there, 0.5 here, seed is 1 there, 2 here"),
        ({"data": sample(seed=8)}, r"of another training: data\['x'\] is 200x3 torch.float32, checksum"),
        ({"data": sample(n=100)}, r"data\['x'\] is 200x3 .* there, 100x3"),
        ({"valid": sample()}, r"valid\['x'\] is absent there"),
        ({"model": nn.Linear(3, 1)}, "of another model: .* is 16x3 there, absent here, .* and [0-9]+ more"),
    ],
)
def test_a_checkpoint_of_something_else_says_what_differs(checkpoint, changed, message):
    before = checkpoint.read_bytes()
    with pytest.raises(training.CheckpointError, match=message + ".*; delete it to train from the start, or name"):
        call(checkpoint=checkpoint, **changed)
    assert checkpoint.read_bytes() == before


class Code:
    """What a pickle could run while it is read."""

    def __reduce__(self):
        return (print, ("code of the file ran",))


def spoil_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_bytes(path):
    content = bytearray(path.read_bytes())
    content[100:400] = bytes(300)
    path.write_bytes(content)


def spoil_one_bit(path):
    """Inside the numbers of the first layer, where torch.load itself notices nothing."""
    content = path.read_bytes()
    values = torch.load(path, weights_only=True)["model"]["layers.0.weight"].numpy().tobytes()
    start = content.index(values) + len(values) // 2
    path.write_bytes(content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :])
    torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_half,
        spoil_bytes,
        spoil_one_bit,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not a checkpoint"),
        lambda path: path.write_bytes(pickle.dumps(Code())),
        lambda path: torch.save({"model": Code()}, path),
    ],
    ids=["half of it", "zeros inside", "one bit", "empty", "text", "pickle with code", "torch file with code"],
)
def test_a_damaged_checkpoint_says_so_and_runs_no_code(checkpoint, spoil, capsys):
    spoil(checkpoint)
    with pytest.raises(
        training.CheckpointError, match=r"fit.pt is damaged or no checkpoint \(.*\); delete it to train"
    ):
        call(checkpoint=checkpoint)
    assert "code of the file ran" not in capsys.readouterr().out


def test_other_files_are_no_checkpoints(tmp_path):
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(training.CheckpointError, match="not a checkpoint of fit in format 1; delete it"):
        call(checkpoint=tmp_path / "weights.pt")
    with pytest.raises(training.CheckpointError, match=r"is a folder; name a file in it, such as .*fit\.pt"):
        call(checkpoint=tmp_path)
