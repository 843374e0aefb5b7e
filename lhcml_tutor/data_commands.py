"""The commands `lhcml data ...`: list, make, fetch and verify the samples of the course."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from .notebooks.sources import Problem

PLAIN = {"no_args_is_help": True, "add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
app = typer.Typer(help="List, make, fetch and verify the samples of the course.\n\nExample: lhcml data list", **PLAIN)
Name = Annotated[str, typer.Argument(metavar="NAME", help="which sample; see `lhcml data list`")]


@app.command("list")
def list_samples():
    """List the samples: name, events, size, where it is now, whether it is intact, and the extra that makes it.

    Example: lhcml data list
    """
    from .datasets import public, registry, storage

    print(f"{'sample':24s} {'events':>12s} {'size':>12s}  {'where':9s} {'state':8s} needed to make it")
    for row in storage.status():
        state = {True: "intact", False: "DAMAGED", None: "absent"}[row["intact"]]
        maker = registry.SAMPLES.get(row["name"])
        _row(row["name"], row["events"], row["bytes"], row["where"] or "-", state, maker.extra if maker else "-")
    for name in registry.SAMPLES.keys() - storage.manifest().keys():
        _row(name, registry.SAMPLES[name].events, None, "-", "made", registry.SAMPLES[name].extra)
    for name in public.names():
        _row(name, None, None, "network", "public", "public")


@app.command()
def make(
    name: Name,
    events: Annotated[int | None, typer.Option(help="how many; as many as are committed where none is given")] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes on this machine")] = 1,
    seed: Annotated[int, typer.Option(help="1 to 899000; each shard gets one of its own from it")] = 1,
    scheduler: Annotated[str | None, typer.Option(metavar="tcp://...", help="a Dask cluster to use instead")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="an .npz file to write as well")] = None,
    parameter: Annotated[list[str], typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="a setting")] = (),
):
    """Make a sample in shards; the same file for any number of workers, and a stopped run goes on where it was.

    Example: lhcml data make ttbar --events 100000 --workers 4
    """
    import hashlib

    from .datasets import shards, storage

    settings = dict(text.partition("=")[::2] for text in parameter)
    with _told():
        wanted = {"seed": seed, "workers": workers, "scheduler": scheduler, "output": output}
        if clash := settings.keys() & wanted:
            raise ValueError(f"{clash.pop()} is no setting of a sample but an option of its own, see --help")
        path = shards.make_sample(name, events, **wanted, **settings)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    same = storage.manifest().get(name, {}).get("sha256") == sha256
    print(f"{path}\nsha256 {sha256}{' (the committed file)' if same else ''}")


@app.command()
def fetch(
    name: Name,
    events: Annotated[int | None, typer.Option(min=1, help="how many; all where none is given")] = None,
    part: Annotated[str | None, typer.Option(help="of a public data set; its first one where none is given")] = None,
):
    """Fetch a public data set, or a sample of the course that is not here; says how large it is before it begins.

    Example: lhcml data fetch z_mumu
    """
    from .datasets import public, storage

    with _told():
        if name in storage.manifest():
            print(f"{name}: {storage.manifest()[name]['bytes'] / 1e6:.1f} MB from {storage.address(name)}")
            print(storage.find(name))
            return
        if name not in public.names():
            known = [*storage.manifest(), *public.names()]
            raise ValueError(f"there is no sample {name!r} to be fetched; there are: {', '.join(known)}")
        print(public.fetch(name, events, **({"part": part} if part else {})))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME ...]", help="all where none is named")] = None,
    remake: Annotated[bool, typer.Option("--remake", help="make 1% of the shards again, and compare")] = False,
):
    """Hold the samples that are here against the manifest; exit status 1 and a line for each problem.

    Example: lhcml data verify --remake ttbar
    """
    from .datasets import storage
    from .datasets import verify as verifying

    wrong = []
    for name in names or storage.manifest():
        with _told():
            results = [verifying.check(name)]
            if remake and not results[0][1]:  # a damaged file is no reference
                results.append(verifying.remake(name))
        for right, problems in results:
            print("\n".join([*(f"ok    {line}" for line in right), *(f"FAIL  {line}" for line in problems)]))
            wrong += problems
    raise typer.Exit(1 if wrong else 0)


def _row(name, events, size, where, state, extra):
    count = "-" if events is None else f"{events:,d}"
    size = "-" if size is None else f"{size / 1e6:,.2f} MB"
    print(f"{name:24s} {count:>12s} {size:>12s}  {where:9s} {state:8s} {extra or 'nothing'}")


@contextlib.contextmanager
def _told():
    """Turn what the caller can put right into a line without a traceback."""
    from .datasets.shards import ShardFailed

    try:
        yield
    except (ValueError, OSError, ImportError, ShardFailed) as problem:
        raise Problem(problem) from problem
