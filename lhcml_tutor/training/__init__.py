"""Training: `fit` is the loop of chapter 1, with all around it that would hide the lesson."""

from functools import partial

from ..scale import device as default_device
from ..scale import parameters
from . import checkpoints
from .checkpoints import CheckpointError
from .distributed import Processes
from .history import History, TrainingDiverged
from .inputs import check_data, check_settings
from .loop import Training
from .precision import Precision
from .progress import Progress
from .schedule import learning_rate_at

__all__ = ["CheckpointError", "History", "TrainingDiverged", "fit", "learning_rate_at"]


def fit(
    model, loss, data, valid=None, *, steps, batch_size, learning_rate=1e-3, betas=(0.9, 0.95), weight_decay=0.0,
    warmup=0.05, schedule="cosine", clip=1.0, seed=None, validate_every=None, keep_best=True, checkpoint=None,
    mixed_precision=False, progress=True, label="training",
):  # fmt: skip
    """Minimise a loss over data with AdamW and return the History of it.

    Each step draws batch_size rows, in a new random order each epoch, and moves the parameters along the gradient of
    loss(model, batch). The model is trained in place, moved to lt.device(), and in eval mode afterwards.

    Arguments:
        model: torch.nn.Module.
        loss: function (model, batch) -> scalar, or dict of named scalars whose sum is minimised. It is a mean over
            the rows of the batch: with several processes each sees its part of the batch, and these are averaged.
        data: {name: tensor (n, ...)}, moved to the device once; batch has the same names.
        valid: the same for validation; its loss is measured without gradient and with equal noise each time.
        steps: optimiser steps; the schedule ends with them.
        batch_size: rows per step over all processes. An incomplete last batch of an epoch is dropped; where data has
            fewer rows than one batch, each step uses all of them.
        learning_rate, betas, weight_decay: of AdamW.
        warmup: fraction of the steps over which the learning rate rises linearly; 0 switches it off.
        schedule: "cosine" falls to zero after the warm-up; None stays constant.
        clip: largest norm of the gradient; None switches clipping off.
        seed: of the order of the rows; that of lt.parameters, or 1. Noise drawn in the loss is torch's own.
        validate_every: steps between two validations (and checkpoints); a twentieth of the steps. The last is one, too.
        keep_best: with valid, end with the weights of the smallest validation loss, not with the last ones.
        checkpoint: path of a file; a training that was killed goes on from it and gives the same numbers as one that
            was not, a finished one is read back. Noise in the loss must be torch's for that.
        mixed_precision: True, "bfloat16" or "float16" on CUDA; elsewhere a warning, and float32.
        progress: show a bar with the time left, and one line at the end.
        label: name of the training in both.
    Shapes:
        data[name] (n, ...) -> batch[name] (batch_size, ...)
    Raises:
        TrainingDiverged: loss or gradient are not finite; names step, term and learning rate.
        CheckpointError: the checkpoint is damaged or of another training.
        TypeError, ValueError: an argument cannot be trained on; the message names it and the remedy.
        MemoryError: the GPU cannot hold this batch size.
    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = torch.nn.Linear(1, 1)
        >>> def loss(model, batch):
        ...     return (model(batch["x"]) - batch["y"]).square().mean()
        >>> data = {"x": x, "y": 3 * x}
        >>> history = fit(model, loss, data, steps=300, batch_size=16, learning_rate=0.1)  # doctest: +ELLIPSIS
        training: 300 steps in ... s, loss ... (mean of the last 50 steps)
        >>> round(model.weight.item(), 2)
        3.0

    Reference: Loshchilov and Hutter 2017, arXiv:1711.05101 (AdamW).
    """
    check_settings(
        model, loss, steps=steps, batch_size=batch_size, learning_rate=learning_rate, betas=betas,
        weight_decay=weight_decay, warmup=warmup, schedule=schedule, clip=clip, validate_every=validate_every,
        seed=seed,
    )  # fmt: skip
    check_data(data)
    if valid is not None:
        check_data(valid, "valid", like=data)
    seed = parameters.current.get("seed", 1) if seed is None else seed
    device = default_device()
    processes, precision = Processes(device), Precision(mixed_precision, device)
    every = validate_every or max(1, steps // 20)
    rate = partial(learning_rate_at, steps=steps, learning_rate=learning_rate, warmup=warmup, schedule=schedule)
    training = Training(
        model, loss, data, valid, device=device, processes=processes, precision=precision, seed=seed, steps=steps,
        batch_size=batch_size, every=every, rate=rate, clip=clip, keep_best=keep_best, label=label,
        optimizer={"lr": learning_rate, "betas": tuple(betas), "weight_decay": weight_decay},
    )  # fmt: skip
    if checkpoint is not None:
        settings = {
            "label": label, "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate,
            "betas": str(tuple(betas)), "weight_decay": weight_decay, "warmup": warmup, "schedule": str(schedule),
            "clip": str(clip), "seed": seed, "validate_every": every, "keep_best": keep_best,
            "precision": precision.name, "processes": processes.world, "device": device.type,
            **checkpoints.fingerprint(data, "data"), **checkpoints.fingerprint(valid or {}, "valid"),
        }  # fmt: skip
        training.resume(checkpoint, settings)
    return training.run(Progress(label, steps, show=progress and processes.main))
