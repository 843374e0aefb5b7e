"""Exercises that answer at once: PASS, NOT YET with the likely mistake, or NOT ATTEMPTED.

A check is a function of the student's answer. It calls `expect` for each thing that must hold; the decorator
`exercise` turns it into the line that is printed, and hands back the function that the notebook goes on with:
the student's own, or the package's reference where the answer is missing or wrong, so that "Run all" completes.
"""

import functools
import os

import torch


class _Todo:
    """What the stub of an exercise returns until a student writes it."""

    def __repr__(self):
        return "TODO"


TODO = _Todo()


class NotAttempted(Exception):
    """The answer is still the stub."""


class NotYet(Exception):
    """The answer is wrong; the message is the measured value, the tolerance and the likely mistake."""


def expect(what, value, wanted, tolerance=1e-6, hint="", tensor=False):
    """Demand that |value - wanted| <= tolerance * max(1, |wanted|) everywhere.

    Arguments:
        what: the quantity in words, as the student reads it.
        value, wanted: numbers, arrays or tensors of the same shape.
        hint: the likely mistake, or a function (value, wanted) -> str that tells them apart.
        tensor: whether the notebook goes on with it as a torch tensor, so that a list or an array will not do.
    Raises:
        NotYet: with the worst value, what was wanted, the tolerance and the hint.
    Example:
        >>> expect("the mass of the Z", 91.2, 91.1876, tolerance=1e-3)
    """
    if value is TODO:
        raise NotAttempted
    kind = type(value).__name__
    if tensor and not torch.is_tensor(value):
        raise NotYet(f"{what} should be a torch tensor, with which the notebook goes on; yours is a {kind}.")
    single = torch.is_tensor(value) and value.dtype == torch.float32
    try:
        value = _numbers(value)
    except (TypeError, ValueError, RuntimeError):
        raise NotYet(f"{what} should be numbers, yours is a {kind}. {_text(hint, value, wanted)}") from None
    wanted = _numbers(wanted)
    if value.shape != wanted.shape:
        shapes = f"{tuple(value.shape)}, expected {tuple(wanted.shape)}"
        raise NotYet(f"{what} has the shape {shapes}. {_text(hint, value, wanted)}")
    error = (value - wanted).abs() / wanted.abs().clamp(min=1)
    error = torch.where(torch.isfinite(error), error, torch.inf)
    if error.numel() and error.max() > tolerance:
        worst = error.argmax()
        if single and error.max() < 1e-5:
            hint = "Right to seven digits: it is in float32. Keep the precision of the arguments."
        numbers = f"yours {value.flatten()[worst]:.6g}, expected {wanted.flatten()[worst]:.6g}"
        raise NotYet(f"{what}: {numbers} (tolerance {tolerance:g}). {_text(hint, value, wanted)}")


def diagnose(known, otherwise):
    """Return a hint for `expect`: the text beside the first known wrong answer that the value equals.

    Arguments:
        known: pairs (text, wrong answer).
        otherwise: the hint where none of them fits.
    Example:
        >>> hint = diagnose([("That is the square.", 9.0), ("The sign is reversed.", -3.0)], "Add them up.")
        >>> hint(torch.tensor(-3.0, dtype=torch.float64), None), hint(torch.tensor(1.0, dtype=torch.float64), None)
        ('The sign is reversed.', 'Add them up.')
    """

    def hint(value, wanted):
        for text, wrong in known:
            wrong = torch.as_tensor(wrong, dtype=torch.float64)
            if value.shape == wrong.shape and torch.allclose(value, wrong, rtol=1e-6, atol=1e-9, equal_nan=True):
                return text
        return otherwise

    return hint


def gradient(what, value, free):
    """Return the gradient of the sum of a tensor in another one, or say that there is none.

    Raises:
        NotYet: the value has no gradient.
    Example:
        >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> gradient("the sum of squares", x**2, x)
        tensor([2., 4.])
    """
    if not (torch.is_tensor(value) and value.requires_grad):
        raise NotYet(f"{what} has no gradient; keep to torch functions and do not detach.")
    return torch.autograd.grad(value.sum(), free)[0]


def _numbers(value):
    """Return a tensor in float64; a plain Python number must not pass through torch's float32."""
    value = value.detach() if torch.is_tensor(value) else torch.as_tensor(value, dtype=torch.float64)
    return value.to("cpu", torch.float64)


def _text(hint, value, wanted):
    try:
        return hint(value, wanted) if callable(hint) else hint
    except Exception:  # the answer is too far off for the hint to tell mistakes apart
        return ""


def exercise(reference):
    """Make a check of an exercise out of a function that calls `expect` on the student's answer.

    Arguments:
        reference: the package's own answer, which the notebook goes on with where the student's is missing or wrong.
    Example:
        >>> @exercise(reference=lambda x: x**2)
        ... def square(answer):
        ...     expect("the square of 3", answer(3.0), 9.0, hint="Did you double instead of squaring?")
        ...     return "3 squared is 9"
        >>> f = square(lambda x: x * x)
        PASS  square: 3 squared is 9
        >>> f = square(lambda x: TODO)
        NOT ATTEMPTED  square: the notebook goes on with the package's own version
        >>> f = square(lambda x: 2 * x)     # doctest: +ELLIPSIS
        NOT YET  square: the square of 3: yours 6, expected 9 ... Did you double instead of squaring? ...
    """

    def decorate(check):
        @functools.wraps(check)
        def checked(answer):
            try:
                if answer is TODO:
                    raise NotAttempted
                message = check(_watch(answer) if callable(answer) else answer)
            except NotAttempted:
                print(f"NOT ATTEMPTED  {check.__name__}: the notebook goes on with the package's own version")
                return reference
            except NotYet as problem:
                text = f"{check.__name__}: {str(problem).strip()}"
                print(f"NOT YET  {text} The notebook goes on with the package's own version.")
                if os.environ.get("LHCML_STRICT") == "1":
                    raise
                return reference
            print(f"PASS  {check.__name__}: {message}" if message else f"PASS  {check.__name__}")
            return answer

        checked.reference = reference
        return checked

    return decorate


def untouched(given, before, names):
    """Demand that an answer left its arguments as they were; the notebook needs them afterwards.

    Arguments:
        given: the tensors that the answer got.
        before: equal tensors that it did not get.
        names: of the arguments, one word each.
    Raises:
        NotYet: it wrote into one of them.
    Example:
        >>> x = torch.ones(2)
        >>> untouched([x.clone()], [x], "x")
    """
    for one, old, name in zip(given, before, names.split(), strict=True):
        if not torch.equal(one, old):
            raise NotYet(f"your function changes {name} itself, which the notebook needs again; work on a new tensor.")


def _watch(answer):
    """Wrap a student's function: the stub's TODO and any exception inside become the exercise's own words."""

    @functools.wraps(answer)
    def watched(*args, **kwargs):
        try:
            result = answer(*args, **kwargs)
        except (NotYet, NotAttempted):
            raise
        except Exception as problem:
            raise NotYet(f"your function raised {type(problem).__name__}: {problem}.") from problem
        if result is TODO or (isinstance(result, tuple) and any(part is TODO for part in result)):
            raise NotAttempted
        if result is None:
            raise NotYet("your function returned nothing; is the `return` missing?")
        return result

    return watched
