"""Holds the samples against the manifest: their bytes, their columns, and, made again, their events."""

import importlib.metadata
import math
import random
from itertools import accumulate

import torch

from ..extras import MissingExtra
from . import registry
from .commit import columns
from .events import Events
from .files import BadSample, read, unpack
from .one_shard import fingerprint, make_shard, versions
from .storage import ROOT, cache_folder, files_of, manifest

SHARE = 0.01  # of the shards are made again, at least one
LEVEL = 1e-3  # chance that a sample of the same distribution fails the statistical comparison


def check(name: str) -> tuple[list[str], list[str]]:
    """Hold every file of a sample, in the checkout and in the cache, against the manifest; the generator is not needed.

    Returns:
        what is right and what is wrong, a line each: sha256, names, shapes, types and units of the columns, NaN.
    Raises:
        ValueError: there is no such sample in the manifest.
    Example:
        >>> check("ttbar")[1]
        []
    """
    known = manifest()
    if name not in known:
        raise ValueError(f"there is no sample {name!r} in the manifest; it has: {', '.join(known)}")
    entry, right, wrong = known[name], [], []
    for place, folder in (("data", ROOT / "data"), ("the cache", cache_folder())):
        paths = [folder / file for file in files_of(entry)]
        if not any(path.exists() for path in paths):
            continue
        problems = _problems(entry, paths)
        wrong += [f"{name} in {place}: {problem}" for problem in problems]
        right += [] if problems else [f"{name} in {place}: sha256, columns and units are those of the manifest"]
    if not (right or wrong):
        text = f"{name}: not here; the first use fetches it, `lhcml data make {name}` makes it"
        (wrong if (ROOT / "data").is_dir() else right).append(text)
    return right, wrong


def remake(name: str) -> tuple[list[str], list[str]]:
    """Make some shards of a committed sample again, and compare: exactly, or where versions differ, statistically.

    Returns:
        what is right and what is wrong, a line each that says which comparison it was.
    Raises:
        ValueError: there is no such sample in the manifest.
    Example:
        >>> SHARE
        0.01
    """
    known = manifest()
    if name not in known:
        raise ValueError(f"there is no sample {name!r} in the manifest; it has: {', '.join(known)}")
    if name not in registry.SAMPLES:
        return [], [f"{name}: not remade, the registry has no function that makes it"]
    entry, sample = known[name], registry.sample(name)
    try:
        here = versions(sample.packages)
        stored = _load(entry)
        return _compared(name, entry, sample, stored, here)
    except importlib.metadata.PackageNotFoundError as problem:
        extra = f'pip install "lhcml-tutor[{sample.extra}]"'
        return [], [f"{name}: not remade, {problem.name} is not installed; run: {extra}"]
    except (MissingExtra, OSError, ValueError, TypeError, RuntimeError) as problem:
        return [], [f"{name}: not remade, {type(problem).__name__}: {problem}"]


def differing(stored: Events, made: Events) -> list[str]:
    """Return what differs between two samples of which every number should be the same.

    Example:
        >>> one = Events({"x": torch.ones(3)}, {"x": "GeV"})
        >>> differing(one, one.with_column("x", torch.tensor([1.0, 1.0, 3.0]), "GeV"))
        ['x differs in 1 of 3 events, by up to 2']
    """
    problems = [] if made.units == stored.units else [f"the units are {made.units}, not {stored.units}"]
    for name, column in stored.columns.items():
        other = made.columns.get(name)
        if other is None or other.shape != column.shape:
            problems.append(f"{name} is {'missing' if other is None else f'of the shape {tuple(other.shape)}'}")
        elif not torch.equal(other, column):
            gap = (other.double() - column.double()).abs().flatten(1 if column.ndim > 1 else 0)
            rows = gap.amax(1) if column.ndim > 1 else gap
            problems.append(f"{name} differs in {int((rows > 0).sum())} of {len(rows)} events, by up to {rows.max():g}")
    return problems


def unlike(stored: Events, made: Events, level: float = LEVEL) -> list[str]:
    """Return the columns whose distributions differ between two independent samples of the same thing.

        p value of the two-sample Kolmogorov-Smirnov test < level / (number of tests)

    Example:
        >>> random = torch.Generator().manual_seed(1)
        >>> one, other = (Events({"x": torch.rand(5000, generator=random)}, {"x": "1"}) for _ in range(2))
        >>> unlike(one, other), unlike(one, other.with_column("x", other["x"] ** 1.2, "1"))
        ([], ['x: p = ...'])
    """
    from scipy.stats import ks_2samp

    pairs = {}
    for name, column in stored.columns.items():
        if name not in made or made[name].shape[1:] != column.shape[1:]:
            return [f"{name} is missing or of another shape"]
        for i, (a, b) in enumerate(zip(column.reshape(len(column), -1).T, made[name].reshape(len(made), -1).T)):
            pairs[name if column.ndim == 1 else f"{name}[{i}]"] = a.double().numpy(), b.double().numpy()
    p_values = {name: ks_2samp(*pair).pvalue for name, pair in pairs.items()}
    return [f"{name}: p = {p:.1e}" for name, p in p_values.items() if p < level / len(p_values)]


def _problems(entry, paths):
    """Return what is wrong with the files of a sample in one folder."""
    problems = []
    for path, sha256 in zip(paths, files_of(entry).values()):
        try:
            read(path, sha256)
        except (BadSample, OSError) as problem:
            problems.append(str(problem))
    if problems:
        return problems
    try:
        found = columns(Events.load(paths))
    except (BadSample, ValueError, OSError) as problem:
        return [str(problem)]
    size = sum(path.stat().st_size for path in paths)
    problems = [] if size == entry.get("bytes", size) else [f"{size} bytes, the manifest says {entry['bytes']}"]
    expected = entry.get("columns", found)
    for name in {**expected, **found}:
        if found.get(name) != expected.get(name):
            problems.append(f"column {name!r} is {found.get(name)}, the manifest says {expected.get(name)}")
    return problems


def _load(entry):
    for folder in (ROOT / "data", cache_folder()):
        if all((folder / file).exists() for file in files_of(entry)):
            return Events.load([folder / file for file in files_of(entry)])
    raise OSError("its file is not here; the first use fetches it")


def _compared(name, entry, sample, stored, here):
    counts = entry.get("shards", [len(stored)])
    starts = [0, *accumulate(counts)]
    chosen = sorted(random.Random(name).sample(range(len(counts)), math.ceil(SHARE * len(counts))))
    exactly = here == entry.get("versions")
    problems, made = [], []
    for shard in chosen:
        whole = sample.per_shard is None
        seed = entry["seed"] if whole else registry.shard_seed(entry["seed"], shard)
        tries = sample.events if whole else entry["per_shard"]
        code = fingerprint(sample.make, sample.packages)
        data = make_shard(sample.make, tries, seed, entry["settings"], sample.units, sample.packages, code)
        part = Events(*unpack(data))
        made.append(part)
        if exactly:
            rows = stored[starts[shard] : starts[shard + 1]]
            problems += [f"shard {shard}: {text}" for text in differing(rows, part[: len(rows)])]
    changed = ", ".join(f"{k} {here[k]} for {entry.get('versions', {}).get(k)}" for k in here)
    how = "exactly" if exactly else f"statistically, for the versions differ ({changed})"
    if not exactly:
        problems = unlike(stored, Events.join(made))
    said = f"{name}: {len(chosen)} of {len(counts)} shards made again and compared {how}"
    return ([], [f"{said}: {problem}" for problem in problems]) if problems else ([f"{said}: the same"], [])
