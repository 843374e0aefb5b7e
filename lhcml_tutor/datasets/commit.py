"""Makes a sample part of the course: data/NAME.npz, data/figures/NAME.png and its entry in the manifest.

    python -m lhcml_tutor.datasets.commit NAME ... [--seed S] [--workers K]

What is too large for one file is split into parts, data/NAME.0.npz, data/NAME.1.npz, ...
`lhcml build` then renews data/README.md.
"""

import json
import math
from pathlib import Path
from typing import Annotated

from . import registry
from .events import Events
from .files import write_whole
from .one_shard import versions
from .pictures import picture
from .shards import accepted, make_sample
from .storage import MANIFEST, ROOT, manifest

LICENCE = "CC BY 4.0"
MOST_BYTES = 9_500_000  # of one file: the forges that hold the course take 10 MB
HEADER = "# Written by `python -m lhcml_tutor.datasets.commit`; do not edit.\n"


def commit(*names: str, seed: int = 1, workers: int = 1, folder=ROOT / "data", path=MANIFEST) -> None:
    """Make samples and write their files, figures and entries in the manifest; other entries stay as they are.

    Raises:
        ValueError: an unknown sample. OSError: full disk, or the folder cannot be written.
    Example:
        >>> commit()
    """
    for name in names:
        sample = registry.sample(name)
        events = Events.load(make_sample(name, seed=seed, workers=workers))
        files = split(name, events)
        hashes = {file: write_whole(Path(folder) / file, data) for file, data in files.items()}
        for old in {*Path(folder).glob(f"{name}.npz"), *Path(folder).glob(f"{name}.[0-9]*.npz")}:
            if old.name not in files:
                old.unlink()
        write_whole(Path(folder) / "figures" / f"{name}.png", picture(events, sample.shown))
        entries = manifest(path) if Path(path).exists() else {}
        entries[name] = entry(name, events, hashes, sum(map(len, files.values())), seed)
        write_whole(path, toml(entries).encode())
        print(f"{', '.join(files)}: {entries[name]['bytes'] / 1e6:.2f} MB")


def entry(name: str, events: Events, hashes: dict, size: int, seed: int) -> dict:
    """Return the entry of a sample in the manifest.

    Arguments:
        hashes: file -> sha256. size: of all files [bytes].
    Example:
        >>> import os, tempfile
        >>> os.environ["LHCML_CACHE"] = tempfile.mkdtemp()
        >>> toy = registry.function("lhcml_tutor.datasets.spectrum:make_spectrum")(100, seed=1)
        >>> entry("toy", toy, {"toy.npz": "12"}, 700, seed=1)["command"]
        'lhcml data make toy --events 1000 --seed 1'
        >>> del os.environ["LHCML_CACHE"]
    """
    sample = registry.sample(name)
    made = {"per_shard": sample.per_shard, "shards": accepted(name, sample.events, seed)} if sample.per_shard else {}
    return {
        "file": next(iter(hashes)) if len(hashes) == 1 else list(hashes),
        "sha256": next(iter(hashes.values())) if len(hashes) == 1 else list(hashes.values()),
        "bytes": size,
        "events": sample.events,
        "command": f"lhcml data make {name} --events {sample.events} --seed {seed}",
        "maker": sample.make,
        "seed": seed,
        **made,
        "licence": LICENCE,
        "settings": {**sample.arguments, **sample.settings},
        "versions": versions(sample.packages),
        "columns": columns(events),
        "provenance": events.provenance,
    }


def columns(events: Events) -> dict:
    """Return shape, type and unit of each column, as the manifest has them.

    Example:
        >>> import torch
        >>> columns(Events({"x": torch.ones(3)}, {"x": "GeV"}))
        {'x': {'shape': [3], 'dtype': 'float32', 'unit': 'GeV'}}
    """
    return {
        name: {"shape": list(c.shape), "dtype": str(c.dtype).removeprefix("torch."), "unit": events.units[name]}
        for name, c in events.columns.items()
    }


def split(name: str, events: Events, most: int = MOST_BYTES) -> dict:
    """Return file name -> bytes: one file, or as few equal parts as keep each below `most` bytes.

    Example:
        >>> import torch
        >>> random = torch.rand(1000, generator=torch.Generator().manual_seed(1))
        >>> list(split("toy", Events({"x": random}, {"x": "1"}), most=3000))
        ['toy.0.npz', 'toy.1.npz']
    """
    whole = events.packed()
    if len(whole) <= most:
        return {f"{name}.npz": whole}
    parts = math.ceil(len(whole) / most)
    while parts <= len(events):
        edges = [len(events) * i // parts for i in range(parts + 1)]
        files = {f"{name}.{i}.npz": events[edges[i] : edges[i + 1]].packed() for i in range(parts)}
        if max(map(len, files.values())) <= most:
            return files
        parts += 1
    raise ValueError(f"a single event of {name!r} takes more than {most} bytes; keep fewer columns")


def toml(entries: dict) -> str:
    """Return the text of the manifest: plain values and one level of tables, whose texts and lists are JSON's.

    Example:
        >>> print(toml({"toy": {"file": "toy.npz", "settings": {"n": 5}}}).split("\\n", 2)[2])
        [toy]
        file = "toy.npz"
        [toy.settings]
        n = 5
        <BLANKLINE>
    """
    return HEADER + "".join(_table(name, entry) for name, entry in entries.items())


def _table(name, entry):
    plain = {k: v for k, v in entry.items() if not isinstance(v, dict)}
    lines = [f"\n[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in plain.items())]
    for key, table in entry.items():
        if isinstance(table, dict):
            lines.append(f"[{name}.{key}]")
            lines += [f"{k} = {_inline(v)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


def _inline(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def _main():
    import typer

    def run(
        names: Annotated[list[str], typer.Argument(metavar="NAME ...")],
        seed: Annotated[int, typer.Option(min=1)] = 1,
        workers: Annotated[int, typer.Option(min=1)] = 1,
    ):
        commit(*names, seed=seed, workers=workers)

    typer.run(run)


if __name__ == "__main__":
    _main()
