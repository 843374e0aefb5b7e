"""What a training leaves behind: the loss of every step, validation, the best step; and the error when it diverges."""

from dataclasses import dataclass, field

import numpy as np
import torch


class TrainingDiverged(ArithmeticError):
    """The loss or its gradient became NaN or infinite.

    Attributes:
        step: the first such step, counted from 1.
        term: what was not finite: "loss", the name of a term of the loss, or "gradient".
        learning_rate: of that step.
        history: the History up to that step.
    """

    def __init__(self, message, *, step, term, learning_rate, history):
        super().__init__(message)
        self.step, self.term, self.learning_rate, self.history = step, term, learning_rate, history


@dataclass
class History:
    """The course of a training; every array is float64, steps are integers.

    Attributes:
        steps: 1 ... n, shape (n,).
        loss: of each step's batch, before that step, shape (n,).
        terms: {name: (n,)} where the loss is a dict; empty otherwise.
        gradient_norm: of each step before clipping, shape (n,); None where clipping is off.
        learning_rate: of each step, shape (n,).
        valid_steps: steps after which the validation loss was measured, shape (m,).
        valid_loss: mean over the validation rows, shape (m,); both None without validation data.
        best_step, best_loss: step and value of the smallest validation loss; None without validation data.
        seconds: wall time, of all parts of a resumed training together.
        interrupted: whether it was stopped from the keyboard.
    Example:
        >>> print(History(steps=np.arange(1, 4), loss=np.array([3.0, 2.0, 1.0]), seconds=0.1))
        training: 3 steps in 0.1 s, loss 2 (mean of the last 3 steps)
    """

    steps: np.ndarray
    loss: np.ndarray
    terms: dict = field(default_factory=dict)
    gradient_norm: np.ndarray | None = None
    learning_rate: np.ndarray | None = None
    valid_steps: np.ndarray | None = None
    valid_loss: np.ndarray | None = None
    best_step: int | None = None
    best_loss: float | None = None
    seconds: float = 0.0
    interrupted: bool = False
    label: str = "training"

    def __str__(self):
        n = len(self.steps)
        text = f"{self.label}: {n} steps in {self.seconds:.1f} s"
        if n:
            last = self.loss[-50:]
            text += f", loss {last.mean():.4g} (mean of the last {len(last)} steps)"
        if self.best_step is not None:
            text += f", smallest validation loss {self.best_loss:.4g} at step {self.best_step}"
        return text

    def __repr__(self):
        return f"<History of {self}>"


class Record:
    """The numbers of each step, kept on the device so that writing them never waits for the GPU."""

    def __init__(self, steps, device):
        self.steps, self.device = steps, device
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.columns = {}  # name -> (steps,)
        self.checked = 0  # all steps up to here are finite and averaged over processes
        self.valid = []  # [step, loss]

    def write(self, step, total, terms, norm):
        """Store the loss, its terms and the norm of its gradient at one step, without waiting for them."""
        values = {"loss": total}
        for name, term in terms.items():
            values[f"term {name}"] = term
        if norm is not None:
            values["gradient"] = norm
        if values.keys() != self.columns.keys():
            self._open(values, step)
        for name, value in values.items():
            self.columns[name][step - 1] = value.detach()

    def _open(self, names, step=1):
        if self.columns:
            before, now = ", ".join(self.columns), ", ".join(names)
            raise ValueError(f"the loss returned other terms at step {step} ({now}) than before ({before})")
        self.columns = {name: torch.zeros(self.steps, dtype=self.dtype, device=self.device) for name in names}

    def latest(self):
        """Return the last loss that was looked at, for the progress bar."""
        return f"loss {float(self.columns['loss'][self.checked - 1]):.4g}" if self.checked else ""

    def check(self, step, average):
        """Average over processes what was written since the last check; return (first bad step, names) or None."""
        new = slice(self.checked, step)
        window = average(torch.stack([column[new] for column in self.columns.values()]))  # (names, steps)
        for column, values in zip(self.columns.values(), window, strict=True):
            column[new] = values
        bad = ~window.isfinite()
        if not bad.any():
            self.checked = step
            return None
        offset = int(bad.any(0).nonzero()[0])
        names = [name for name, wrong in zip(self.columns, bad[:, offset].tolist(), strict=True) if wrong]
        terms = [f"the term {name.removeprefix('term ')!r}" for name in names if name.startswith("term ")]
        return self.checked + offset + 1, terms or [f"the {names[0]}"]

    def history(self, step, rate, **extra):
        """Return the History of the first `step` steps."""
        columns = {name: column[:step].cpu().double().numpy() for name, column in self.columns.items()}
        if self.valid:
            at, losses = zip(*self.valid, strict=True)
            extra |= {"valid_steps": np.array(at), "valid_loss": np.array(losses)}
        return History(
            steps=np.arange(1, step + 1),
            loss=columns.pop("loss", np.zeros(0)),
            gradient_norm=columns.pop("gradient", None),
            terms={name.removeprefix("term "): column for name, column in columns.items()},
            learning_rate=np.array([rate(s) for s in range(1, step + 1)]),
            **extra,
        )

    def state_dict(self):
        columns = {name: column[: self.checked].cpu() for name, column in self.columns.items()}
        return {"columns": columns, "valid": self.valid}

    def load_state_dict(self, state):
        self.valid = [list(pair) for pair in state["valid"]]
        self.columns = {}
        if state["columns"]:
            self._open(state["columns"])
        for name, column in state["columns"].items():
            self.checked = len(column)
            self.columns[name][: self.checked] = column
