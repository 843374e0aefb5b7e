"""Verdicts on trained models and checks of exercises; one module per tutorial, named by its topic."""

from importlib import import_module

from .exercises import TODO, NotYet, exercise, expect
from .verdicts import OutsideBand, show_full_scale, stored_runs, verdict

__all__ = ["TODO", "NotYet", "OutsideBand", "exercise", "expect", "show_full_scale", "stored_runs", "verdict"]


def __getattr__(name):
    """Load the checks of one tutorial when they are first used: lt.checks.amplitude_regression."""
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"there are no checks named {name!r}") from None
