"""Pictures with sliders: a pure computation, a drawing of its result, and a thin shell of widgets around both.

An explorer is written once and used three ways: a static figure that teaches on its own, live sliders in Jupyter,
and a sweep over its controls by which tests see that every slider works.
"""

from importlib import import_module
from pkgutil import iter_modules

from .shell import Choice, Explorer, Slider

__all__ = ["Choice", "Explorer", "Slider", "all"]


def all():
    """Return every explorer of the course, found in the modules of this package.

    Example:
        >>> all()[0].title != ""
        True
    """
    found = {}
    for module in iter_modules(__path__):
        for name, thing in vars(import_module(f".{module.name}", __name__)).items():
            if isinstance(thing, Explorer):
                found.setdefault(id(thing), (f"{module.name}.{name}", thing))
    for name, explorer in found.values():
        explorer.name = name
    return [explorer for _, explorer in found.values()]


def __getattr__(name):
    """Load a chapter's explorers when they are first used: lt.explorers.fitting."""
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"there are no explorers named {name!r}") from None
