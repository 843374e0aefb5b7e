"""One shard of a Pythia sample as it is stored: small types, numbers shortened to what they are known to."""

import numpy as np

from ..physics import pythia
from ..physics.diboson_events import DIBOSON_RECIPES
from ..physics.tagging_jets import TAGGING_RECIPES
from ..physics.top_events import TOP_RECIPES
from ..physics.z_events import Z_RECIPES
from ..physics.z_unfolding_events import Z_UNFOLDING_RECIPES
from .events import Events

RECIPES = {**Z_RECIPES, **TAGGING_RECIPES, **DIBOSON_RECIPES, **TOP_RECIPES, **Z_UNFOLDING_RECIPES}
BITS = 12  # of the mantissa of a float32 that are kept: 1e-4 of the number; the others compress to nothing


def make_shard(tries: int, seed: int, which: str) -> Events | None:
    """Return those of `tries` generated events that a sample keeps, None where there are none; see registry.py.

    Raises:
        MissingExtra: Pythia is not installed. ValueError: an unknown sample.
    Example:
        >>> make_shard(10, seed=1001, which="higgs")
        Traceback (most recent call last):
        ValueError: there is no recipe 'higgs'; the recipes are: ...
    """
    if which not in RECIPES:
        raise ValueError(f"there is no recipe {which!r}; the recipes are: {', '.join(RECIPES)}")
    recipe = RECIPES[which]
    columns = pythia.make_tries(recipe, tries, seed)
    if not len(next(iter(columns.values()))):
        return None
    types = dict(recipe.types)
    stored = {name: _stored(values, types.get(name)) for name, values in columns.items()}
    provenance = {"what": recipe.what, "generator": "Pythia", "version": pythia.version()}
    return Events(stored, recipe.units, {**provenance, "settings": list(recipe.settings), "seed": seed})


def _stored(values, kind):
    if callable(kind):
        return kind(values)
    if kind is not None:
        return values.astype(kind)
    return shortened(values) if values.dtype.kind == "f" else values.astype(np.int64)


def shortened(values, bits=BITS):
    """Return numbers as float32, rounded to a mantissa of so many bits.

    Example:
        >>> abs(float(shortened(np.array([np.pi]))[0]) / np.pi - 1) < 2e-4
        True
    """
    raw = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    cut = 23 - bits
    rounded = (raw + np.uint32(1 << (cut - 1))) & np.uint32(~((1 << cut) - 1) & 0xFFFFFFFF)
    return rounded.view(np.float32)
