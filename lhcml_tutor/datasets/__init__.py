"""What nature showed: samples of events as columns with units, found, checked or made (`load_*(n) -> Events`)."""

from importlib import import_module

from .events import Events, NoColumn
from .files import BadSample

_LAZY = {
    "load_amplitudes": "amplitudes",
    "load_first_events": "first_events",
    "make_first_events": "first_events",
    "make_toy": "toys",
    "load_toy": "toys",
    "load_toy_shower": "toys",
    **dict.fromkeys(
        ("load_z_jets", "load_jet_multiplicity", "load_top_jets", "load_quark_gluon_jets", "load_jet_images"),
        "collider",
    ),
    "load_calorimeter_clusters": "collider",
    "load_zw_unfolding": "collider",
    "load_z_jets_unfolding": "collider",
    "load_ttbar": "top_samples",
    "load_ttbar_jets": "top_samples",
    "load_thj": "top_samples",
    "find": "storage",
    "cached": "storage",
    "SampleNotFound": "storage",
}

__all__ = ["BadSample", "Events", "NoColumn", *_LAZY]


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    try:
        return import_module(f".{name}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
