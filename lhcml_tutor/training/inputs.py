"""What `fit` demands of its arguments, and how it says which demand was not met."""

import math
import numbers

import torch
from torch import nn


def check_settings(model, loss, *, steps, batch_size, learning_rate, betas, weight_decay, warmup, schedule, clip,
                   validate_every, seed):  # fmt: skip
    """Raise TypeError or ValueError, naming argument, value and remedy, where a setting cannot train."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {_kind(model)}; derive its class from torch.nn.Module")
    if not callable(loss):
        raise TypeError(f"loss must be a function (model, batch) -> scalar or dict of scalars, not {_kind(loss)}")
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ValueError(
            "the model has no trainable parameter; assign its layers as attributes in __init__ "
            "(a plain list hides them: use torch.nn.ModuleList), or set requires_grad=True"
        )
    if seed is not None and not isinstance(seed, numbers.Integral):
        raise ValueError(f"seed must be an integer, or None for that of lt.parameters; not {seed!r}")
    counts = {"steps": steps, "batch_size": batch_size}
    for name, value in (counts if validate_every is None else {**counts, "validate_every": validate_every}).items():
        if not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} must be a positive integer, not {value!r}")
    _demand(_real(learning_rate) and learning_rate > 0, f"learning_rate must be positive, not {learning_rate!r}")
    _demand(_real(weight_decay) and weight_decay >= 0, f"weight_decay must not be negative, it is {weight_decay!r}")
    pair = isinstance(betas, tuple | list) and len(betas) == 2 and all(_real(b) and 0 <= b < 1 for b in betas)
    _demand(pair, f"betas must be two numbers from 0 up to but not 1, such as (0.9, 0.95), not {betas!r}")
    _demand(
        _real(warmup) and 0 <= warmup < 1,
        f"warmup is the fraction of the steps over which the learning rate rises, 0 <= warmup < 1, not {warmup!r}; "
        "0 switches it off",
    )
    _demand(schedule in ("cosine", None), f"schedule must be 'cosine' or None (constant), not {schedule!r}")
    _demand(
        clip is None or (_real(clip) and clip > 0),
        f"clip is the largest norm of the gradient, a positive number, or None for no clipping; not {clip!r}",
    )


def check_data(data, name="data", like=None):
    """Return the dict of tensors after checking that it can be trained on; `like` is the training data of `valid`."""
    if not isinstance(data, dict):
        raise TypeError(f'{name} must be a dict of tensors such as {{"x": x, "y": y}}, not {_kind(data)}')
    if not data:
        raise ValueError(f'{name} is an empty dict; give it at least one tensor, such as {{"x": x}}')
    for key, values in data.items():
        if not isinstance(values, torch.Tensor):
            raise TypeError(f"{name}[{key!r}] must be a torch.Tensor, not {_kind(values)}; use torch.as_tensor(...)")
        if values.ndim == 0:
            raise ValueError(f"{name}[{key!r}] is a single number; each entry needs one row per event, shape (n, ...)")
        if values.requires_grad:
            raise ValueError(f"{name}[{key!r}] carries a gradient; hand over {key}.detach()")
    lengths = {key: len(values) for key, values in data.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key!r}: {n}" for key, n in lengths.items())
        raise ValueError(f"the tensors of {name} differ in length ({shown}); each needs one row per event")
    if 0 in lengths.values():
        raise ValueError(f"{name} has no rows; was every event cut away?")
    if like is not None and data.keys() != like.keys():
        raise ValueError(f"{name} has the entries {', '.join(data)}, but data has {', '.join(like)}; they must agree")
    for key, values in data.items():
        _check_finite(values, f"{name}[{key!r}]")
    return data


def _check_finite(values, name):
    if not (values.is_floating_point() or values.is_complex()):
        return
    if values.is_floating_point() and torch.stack(values.aminmax()).isfinite().all():  # 10 x faster than to ask each
        return
    bad = ~values.isfinite().flatten(1).all(1) if values.ndim > 1 else ~values.isfinite()  # (n,)
    if bad.any():
        raise ValueError(
            f"{name} has {int(bad.sum())} of {len(bad)} rows with NaN or infinity, the first is row "
            f"{int(bad.nonzero()[0])}; find where they come from, or cut these rows from every tensor"
        )


def total_of(value):
    """Return (scalar loss, {name: term}) of what the loss function returned: a scalar, or a dict of named terms."""
    if not isinstance(value, dict):
        _check_scalar(value, "the loss")
        total, terms = value, {}
    elif not value:
        raise ValueError("the loss returned an empty dict; return at least one named term")
    else:
        for name, term in value.items():
            _check_scalar(term, f"the term {name!r} of the loss")
        total, terms = sum(value.values()), value
    if torch.is_grad_enabled() and not total.requires_grad:
        which = f" (terms {', '.join(map(str, terms))})" if terms else ""
        raise ValueError(
            f"the loss{which} has no gradient: it does not depend on the model's parameters, or was cut from them; "
            "look for .detach(), .data, .item() or torch.no_grad() between the model and the loss"
        )
    return total, terms


def _check_scalar(value, what):
    if value is None:
        raise TypeError(f"{what} is None; is the `return` missing?")
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{what} is {_kind(value)}, not a tensor; .item(), float() and numpy cut the gradient")
    if value.ndim:
        raise ValueError(
            f"{what} must be a scalar, its shape is {tuple(value.shape)}; average over the rows with .mean()"
        )


def _demand(condition, message):
    if not condition:
        raise ValueError(message)


def _real(value):
    return isinstance(value, numbers.Real) and math.isfinite(value)


def _kind(value):
    kind = type(value)
    return f"a {kind.__name__}" if kind.__module__ in ("builtins", "torch") else f"a {kind.__module__}.{kind.__name__}"
