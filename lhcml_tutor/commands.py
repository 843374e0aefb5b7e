"""What each subcommand of `lhcml` does; the work itself is done in notebooks/."""

import time
from pathlib import Path
from typing import Annotated

import typer

from .data_commands import PLAIN
from .data_commands import app as data
from .notebooks import files, sources
from .notebooks.sources import Problem

app = typer.Typer(help="Build, run and measure the notebooks of the course.", **PLAIN)
app.add_typer(data, name="data")
Notebook = Annotated[str, typer.Argument(metavar="ID", help="which notebook: L01, 01a, ...; see `lhcml list`")]
AtScale = Annotated[str, typer.Option("--scale", help="ci, laptop or gpu")]
Chosen = Annotated[list[str], typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="a parameter")]
Seeds = Annotated[int, typer.Option(min=1, help="how many seeds, from 1")]
Jobs = Annotated[int, typer.Option(min=1, help="how many runs at a time; they share the cores")]


@app.command()
def build(check: Annotated[bool, typer.Option("--check", help="write nothing; list what differs, exit 1")] = False):
    """Build the notebooks, the tables of README.md and data/README.md from their sources.

    Example: lhcml build --check
    """
    from .notebooks.build import build as write
    from .notebooks.build import drifted

    if check:
        problems = drifted()
        print("\n".join(problems) or f"{len(sources.find())} sources and their notebooks agree")
        raise typer.Exit(1 if problems else 0)
    for path in write():
        print(f"wrote {path.relative_to(sources.root())}")


@app.command()
def run(
    notebook: Notebook,
    scale: AtScale = "",
    seed: Annotated[int | None, typer.Option(help="seed; the notebook's own where none is given")] = None,
    parameter: Chosen = (),
    strict: Annotated[bool, typer.Option(help="stop at a verdict outside its band")] = True,
):
    """Run the source of a notebook as a plain script; figures go to figures/ID/.

    Example: lhcml run 01a --scale ci --seed 3 -p n_train=1000
    """
    from .notebooks.execute import run as run_source

    chosen = {name: values[-1] for name, values in _parameters(parameter, single=True).items()}
    if seed is not None:
        chosen["seed"] = seed
    outcome = run_source(sources.get(notebook), scale=scale or None, parameters=chosen, strict=strict)
    ended = "ended well" if outcome.status == 0 else f"failed with status {outcome.status}"
    print(f"{notebook} {ended} after {outcome.seconds:.1f} s")
    raise typer.Exit(1 if outcome.status else 0)


@app.command()
def execute(
    notebook: Notebook,
    scale: AtScale = "laptop",
    output: Annotated[Path | None, typer.Option(help="write there, and leave the tracked notebook as it is")] = None,
):
    """Execute a notebook and store it with its outputs.

    Example: lhcml execute 01a --output /tmp/01a --scale ci
    """
    from .notebooks import execute as executing

    started = time.perf_counter()
    path = executing.execute(sources.get(notebook), scale=scale, output=output)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB) after {time.perf_counter() - started:.0f} s")
    if output is None:
        build()


@app.command("list")
def list_notebooks():
    """List the notebooks: identifier, title, minutes, and whether they are built, executed and measured.

    Example: lhcml list
    """
    from .notebooks.readme import state

    for key, source in sources.find().items():
        minutes = source.header["minutes"]
        print(f"{key:4s} {source.header['title']:34s} {minutes.get('laptop', '?'):>3} min   {state(source)}")


@app.command()
def course(notebook: Annotated[str, typer.Argument(metavar="[ID]")] = "01a"):
    """Train one tutorial at the scale of this machine into runs/course/, and print its verdicts.

    Example: lhcml course
    """
    from .notebooks import execute as executing

    source, scale = sources.get(notebook), _scale_here()
    folder = files.runs_folder(source.root) / "course"
    minutes = source.header["minutes"].get(scale, 1)
    print(
        f"{source.key} {source.header['title']} at scale {scale}: about {minutes} minutes on the machine of the authors"
    )
    path = executing.execute(source, scale=scale, output=folder, strict=False)
    verdicts = (executing.execute.record or {"verdicts": []})["verdicts"]
    print(f"\nVerdicts ({len(verdicts)}):")
    for entry in verdicts:
        band = f"band {entry['band'][0]:g} to {entry['band'][1]:g}" if entry["band"] else "no band at this scale yet"
        value = "not finite" if entry["value"] is None else f"{entry['value']:.4g}"
        print(f"  {entry['status']:16s}  {entry['name']}: {value} ({band})")
    print(f"\nNotebook: {path}\nFigures:  {folder / 'figures'}\nGo on:    make lab   (JupyterLab on the course)")
    if outside := [entry["name"] for entry in verdicts if entry["status"] in ("OUTSIDE", "BLIND")]:
        raise Problem(f"not as measured by the authors: {', '.join(outside)}; `lhcml doctor` shows what is different")


@app.command()
def bands(
    notebook: Notebook,
    seeds: Seeds = 5,
    scale: AtScale = "ci",
    parameter: Chosen = (),
    jobs: Jobs = 2,
    resume: Annotated[bool, typer.Option("--resume", help="use what runs/ already has")] = False,
):
    """Measure the bands of a notebook's verdicts: run it over seeds, propose a band for each, judge the one it states.

    Example: lhcml bands 01a --seeds 5 --scale laptop
    """
    from .notebooks import scan as scanning
    from .notebooks.bands import report

    source = sources.get(notebook)
    chosen = {name: values[-1:] for name, values in _parameters(parameter, single=True).items()}
    wanted = scanning.product(chosen, seeds)
    runs = scanning.run_all(source, wanted, scale=scale, jobs=jobs, fresh=not resume)
    print(report(source, scale, runs))


@app.command()
def scan(
    notebook: Notebook,
    parameter: Chosen = (),
    seeds: Seeds = 3,
    scale: AtScale = "",
    until: Annotated[str | None, typer.Option(metavar="VERDICT", help="stop each run after this verdict")] = None,
    jobs: Jobs = 2,
    fresh: Annotated[bool, typer.Option("--fresh", help="run again what runs/ already has")] = False,
):
    """Run a notebook for every combination of parameter values and seeds; runs that runs/ has are not repeated.

    Example: lhcml scan 01a -p n_train=1000,10000,100000 --seeds 3
    """
    from .notebooks import scan as scanning
    from .notebooks.bands import stated

    source = sources.get(notebook)
    if until is not None and until not in stated(source):
        raise Problem(f"{source.key} has no verdict {until!r}; it has: {', '.join(stated(source))}")
    wanted = scanning.product(_parameters(parameter), seeds)
    runs = scanning.run_all(source, wanted, scale=scale or _scale_here(), until=until, jobs=jobs, fresh=fresh)
    print(f"{len(runs)} runs recorded; store them with `lhcml promote {source.key}`")


@app.command()
def promote(
    notebook: Notebook,
    scale: AtScale = "",
    keep: Annotated[bool, typer.Option("--keep", help="keep stored runs of older code")] = False,
):
    """Merge the runs of the current code from runs/ into data/results/, and renew the tables of README.md.

    Example: lhcml promote 01a --scale laptop
    """
    from .notebooks.results import promote as merge

    merge(sources.get(notebook), scale or None, keep=keep)
    build()


@app.command()
def slides(
    notebook: Notebook,
    output: Annotated[Path | None, typer.Option(help="folder; runs/slides where none is given")] = None,
    reveal: Annotated[str | None, typer.Option(help="folder or address of reveal.js; else the web's")] = None,
):
    """Make a reveal.js deck of a lecture. The deck needs a network when it is shown, for reveal.js and the formulas.

    Example: lhcml slides 01
    """
    from .notebooks.execute import make_slides

    known = sources.find()
    source = known.get(f"L{notebook}") or sources.get(notebook)
    print(f"wrote {make_slides(source, output or files.runs_folder(source.root) / 'slides', reveal)}")


@app.command()
def doctor():
    """Tell what this machine has, what is missing, and what to do about it.

    Example: lhcml doctor
    """
    from . import doctor as examine

    raise typer.Exit(examine.main([]) or 0)


def _scale_here():
    from .scale import scale

    try:
        return str(scale())
    except ValueError as problem:
        raise Problem(problem) from None


def _parameters(given, single=False):
    """Return {name: [values]} of NAME=VALUE,VALUE; one value each where `single`."""
    chosen = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (equals and name.strip().isidentifier() and value.strip()):
            raise Problem(f"-p {text!r} is not NAME=VALUE, such as -p n_train=1000")
        if name.strip() in chosen:
            raise Problem(f"-p {name.strip()} is given twice")
        chosen[name.strip()] = [value.strip()] if single else [part.strip() for part in value.split(",")]
    return chosen
