"""The loop itself: on one CPU, one GPU, or several processes under torchrun."""

import math
import os
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from . import checkpoints
from .batches import Batches
from .distributed import set_random_state
from .history import Record, TrainingDiverged
from .inputs import total_of

WINDOW = 50  # steps between two looks at whether all numbers are finite; each look waits for the GPU
STATEFUL = ("model", "optimizer", "precision", "batches", "record")  # what a checkpoint holds of a training
VALID_ROWS = 1024  # validation uses at least so many rows at once: it needs no memory for gradients


class LossModule(nn.Module):
    """Model and loss as one module, so that DistributedDataParallel sees the forward of what is minimised."""

    def __init__(self, model, loss, precision):
        super().__init__()
        self.model = model
        self.precision = precision
        self.loss_of = (loss,)  # in a tuple: a loss that is a module is not trained

    def forward(self, batch):
        with self.precision.forward():
            return total_of(self.loss_of[0](self.model, batch))


class Training:
    """One training: everything that changes while it runs, and the loop that changes it."""

    def __init__(self, model, loss, data, valid, *, device, processes, precision, seed, steps, batch_size, every,
                 rate, clip, optimizer, keep_best, label):  # fmt: skip
        self.device, self.processes, self.precision = device, processes, precision
        self.seed, self.steps, self.every, self.rate, self.clip, self.label = seed, steps, every, rate, clip, label
        self.batch_size, self.keep_best = batch_size, keep_best
        self.model = model.to(device)
        self.data = data
        with self._explained():
            data = {name: values.to(device) for name, values in data.items()}
            self.valid = valid and {name: values.to(device) for name, values in valid.items()}
        self.module = LossModule(self.model, loss, precision)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(weights, fused=_fused(weights), **optimizer)
        self.batches = Batches(data, batch_size, seed, processes.rank, processes.world)
        some = {name: values[: max(1, batch_size // processes.world)] for name, values in data.items()}
        with self._explained():
            self.parallel = processes.wrap(self.module, some)
        self.record = Record(steps, device)
        self.step, self.seconds = 0, 0.0
        self.best = {"step": None, "loss": math.inf, "weights": None}
        self.checkpoint, self.settings = None, {}
        self.clock = lambda: self.seconds
        processes.own_random_numbers(seed)

    def run(self, progress):
        """Train to the last step and return the History."""
        before, began, interrupted = self.seconds, time.perf_counter(), False
        self.clock = lambda: before + time.perf_counter() - began
        progress.start(self.step)
        if self.step:
            progress.say(f"{self.label}: goes on after step {self.step} of {self.steps}, from {self.checkpoint}")
        try:
            with self._explained(), torch.enable_grad():
                self._steps(progress)
            self.processes.same_random_numbers()
        except KeyboardInterrupt:
            # A half-trained model must not pass for a trained one where verdicts are recorded, or leave others waiting.
            if os.environ.get("LHCML_STRICT") == "1" or self.processes.world > 1:
                raise
            interrupted = True
        finally:
            progress.close()
            self.seconds = self.clock()
        kept = self._end_with_best()
        history = self._history(self.step, interrupted=interrupted)
        progress.say(str(history))
        if interrupted:
            progress.say(f"{self.label}: stopped at step {self.step} of {self.steps}; the model has {kept}")
        return history

    def _steps(self, progress):
        self.model.train()
        weight = self.batches.weight
        stream = iter(self.batches)
        for step in range(self.step + 1, self.steps + 1):
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(step)
            self.optimizer.zero_grad()
            total, terms = self.parallel(next(stream))
            if weight != 1:
                total, terms = total * weight, {name: term * weight for name, term in terms.items()}
            norm = self.precision.step(total, self.optimizer, self.clip)
            self.record.write(step, total, terms, norm)
            self.step = step
            look = step % self.every == 0 or step == self.steps
            if look or step == 1 or step % WINDOW == 0:
                self._check(step)
            if look:
                self._validate(step)
                self._save()
            progress.update(step, self.record.latest)

    def _check(self, step):
        bad = self.record.check(step, self.processes.mean)
        if bad is None:
            return
        step, names = bad
        rate = self.rate(step)
        remedies = ["a smaller learning_rate", "a longer warmup"] + ["clip=1.0"] * (self.clip is None)
        if step == 1:
            remedies = ["check the loss: it fails before any parameter has moved"]
        remedies.append("look for log(0), a division by zero or the square root of zero in the loss")
        kept = f"has {self._end_with_best()}" if self.best["weights"] else "is spoilt, make it anew"
        raise TrainingDiverged(
            f"{self.label}: {' and '.join(names)} {'are' if names[1:] else 'is'} not finite at step {step} of "
            f"{self.steps}, learning rate {rate:.3g}. "
            f"Try: {'; '.join(remedies)}. The model {kept}.",
            step=step, term=names[0], learning_rate=rate, history=self._history(step),
        )  # fmt: skip

    def _validate(self, step):
        """Measure the mean loss over the validation rows; every time with the same noise, so that values compare."""
        if self.valid is None:
            return
        self.model.eval()
        rows = len(next(iter(self.valid.values())))
        at_once = max(self.batch_size, VALID_ROWS)
        total = torch.zeros((), dtype=self.record.dtype, device=self.device)
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.no_grad(), torch.random.fork_rng(cuda):
            torch.manual_seed(self.seed)
            for start in range(self.processes.rank * at_once, rows, self.processes.world * at_once):
                batch = {name: values[start : start + at_once] for name, values in self.valid.items()}
                total += self.module(batch)[0] * min(at_once, rows - start)
        loss = float(self.processes.sum(total)) / rows
        self.model.train()
        self.record.valid.append([step, loss])
        if not math.isfinite(loss):
            warnings.warn(f"{self.label}: the validation loss after step {step} is {loss}", stacklevel=2)
        elif loss < self.best["loss"]:
            weights = None
            if self.keep_best:
                weights = {name: values.detach().clone() for name, values in self.model.state_dict().items()}
            self.best = {"step": step, "loss": loss, "weights": weights}

    def _end_with_best(self):
        """Put the best weights into the model, leave it in eval mode and say which weights it has."""
        self.model.eval()
        if self.best["weights"] is None:
            return f"the weights of step {self.step}"
        self.model.load_state_dict(self.best["weights"])
        return f"its best weights, of step {self.best['step']}"

    def _history(self, step, **extra):
        best = {"best_step": self.best["step"], "best_loss": self.best["loss"]} if self.best["step"] else {}
        return self.record.history(step, self.rate, seconds=self.clock(), label=self.label, **best, **extra)

    def resume(self, path, settings):
        """Write checkpoints to path from now on, and go on from the one that is there."""
        self.checkpoint, self.settings = Path(path), settings
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)  # fails now, not after the first hour
        content = checkpoints.load(path, settings, self.model)
        self.processes.wait()  # nobody writes the file before everybody has read it
        if content is None:
            return
        self.step, self.seconds, self.best = content["step"], content["seconds"], content["best"]
        for name in STATEFUL:
            getattr(self, name).load_state_dict(content[name])
        set_random_state(content["random"][self.processes.rank], self.device)

    def _save(self):
        if self.checkpoint is None:
            return
        content = {name: getattr(self, name).state_dict() for name in STATEFUL}
        content |= {"settings": self.settings, "step": self.step, "seconds": self.clock(), "best": self.best}
        content["random"] = self.processes.random_states()
        if self.processes.main:
            checkpoints.save(self.checkpoint, content)

    @contextmanager
    def _explained(self):
        """Say what to change where torch names only what went wrong."""
        try:
            yield
        except torch.OutOfMemoryError as problem:
            raise MemoryError(
                f"{self.label}: the GPU has too little memory for batch_size={self.batch_size}; lower it, for example "
                f"to {max(1, self.batch_size // 2)}, or make the model smaller"
            ) from problem
        except RuntimeError as problem:
            if "dtype" not in str(problem):
                raise
            held = ", ".join(f"{name} {values.dtype}" for name, values in self.data.items())
            model = next(self.model.parameters()).dtype
            raise TypeError(
                f"{self.label}: numbers of different types meet ({problem}): the model has {model}, the data {held}; "
                f"convert the data, for example with .to({model})"
            ) from problem


def _fused(weights):
    """Tell whether AdamW may update all parameters in one call, which is several times faster."""
    return all(weight.is_floating_point() and weight.device.type in ("cpu", "cuda") for weight in weights)
