"""LHC ML Tutor: the helper package of an interactive course on modern machine learning for LHC physics.

    import lhcml_tutor as lt

Modules load when they are first used, so that `lhcml doctor` works where nothing else is installed.
"""

from importlib import import_module

from .scale import device, parameters, scale, seed_everything

__version__ = "0.1.0"

_LAZY = {
    "fit": "training",
    "TrainingDiverged": "training",
    "Events": "datasets",
    "verdict": "checks",
    "TODO": "checks",
    "show": "plots",
}
_MODULES = (
    "kinematics", "layers", "bijections", "likelihoods", "physics", "datasets", "training", "metrics", "judges",
    "calibration", "classification", "ensembles", "flows", "flow_matching", "diffusion", "taggers", "explain", "plots",
    "explorers", "checks", "notebooks", "doctor", "cli",
)  # fmt: skip

__all__ = ["device", "parameters", "scale", "seed_everything", *_LAZY, *_MODULES]


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(f".{_LAZY[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
