"""What nature does: matrix elements, phase space, events and jets. Energies in GeV, metric (+,-,-,-), hbar = c = 1."""

from importlib import import_module
from importlib.util import find_spec


def __getattr__(name):
    if name.startswith("_") or find_spec(f".{name}", __name__) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)
