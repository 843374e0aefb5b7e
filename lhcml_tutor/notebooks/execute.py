"""Running a source as a plain script, or its notebook in a kernel."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..scale import SCALES
from . import build
from .files import dump, load, runs_folder, write_text
from .sources import Problem, check_parameters, verdict_calls

MOST_BYTES = 400_000  # of one notebook
PROGRESS_BAR = re.compile(r"\d+%\|")
PACKAGE = Path(__file__).resolve().parents[2]


@dataclass
class Outcome:
    """What is left of a run: exit status, seconds, its record (None: no verdict), its output where it was captured."""

    status: int
    seconds: float
    record: dict | None
    output: str = ""


def run(source, *, scale=None, parameters=None, strict=True, until=None, threads=None, capture=False) -> Outcome:
    """Run a source as a plain script in a process of its own; its verdicts go to runs/ when it has ended well.

    Arguments:
        parameters: {name: value} for `lt.parameters`, the seed included.
        strict: stop at the first verdict outside its band.
        until: stop after the verdict of this name.
        threads: how many the run may use.
        capture: keep what it prints in the outcome, instead of showing it.
    Example:
        >>> from .sources import Source
        >>> run(Source("99", Path("no such file.py"), Path(".")), scale="huge")
        Traceback (most recent call last):
        lhcml_tutor.notebooks.sources.Problem: 'huge' is not a scale; it is one of ci, laptop, gpu
    """
    with environment(source, scale, parameters, strict, until, threads) as (env, records):
        started = time.perf_counter()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if capture else {}
        command = [sys.executable, str(source.path)]
        with subprocess.Popen(command, env=env, cwd=source.root, text=True, errors="replace", **pipes) as process:
            try:
                output = process.communicate()[0]
            except BaseException:
                process.terminate()
                raise
        seconds = time.perf_counter() - started
        record = records.collect() if process.returncode == 0 else None
        return Outcome(process.returncode, seconds, record, output or "")


def execute(source, *, scale="laptop", output=None, strict=True, say=print) -> Path:
    """Execute the complete notebook of a source in a kernel and store it with its outputs; return its path.

    Arguments:
        output: folder to write to, with the figures beside it; None: the tracked notebook of the checkout.
        say: receives a line of progress for each cell.
    Raises:
        Problem: a cell failed, the notebook grew above 0.4 MB, or the scale has no bands to store outputs from.
    Example:
        >>> from .sources import Source
        >>> execute(Source("99", Path("no such file.py"), Path(".")), scale="huge")
        Traceback (most recent call last):
        lhcml_tutor.notebooks.sources.Problem: 'huge' is not a scale; it is one of ci, laptop, gpu
    """
    if scale not in SCALES:
        raise Problem(f"{scale!r} is not a scale; it is one of {', '.join(SCALES)}")
    notebook = build.complete(source)
    if output is None and (unset := _without_band(notebook, scale)):
        raise Problem(
            f"{source.key} has verdicts without a band at scale {scale}: {', '.join(unset)}; measure them with "
            f"`lhcml bands {source.key} --scale {scale}`, or look at the notebook with `--output FOLDER`"
        )
    with environment(source, scale, None, strict) as (env, records):
        env.pop("MPLBACKEND")  # the kernel chooses its own
        _in_kernel(notebook, source, env, say)
        record = records.collect()
    clean(notebook, source.root)
    notebook.metadata["lhcml"]["scale"] = scale
    text = dump(notebook)
    if len(text.encode()) > MOST_BYTES:
        size = len(text.encode()) / 1e6
        raise Problem(f"the notebook of {source.key} has {size:.2f} MB, the limit is 0.4 MB: make its figures smaller")
    path = Path(output) / source.complete.name if output else source.complete
    write_text(path, text)
    if output:
        _save_figures(notebook, path.parent / "figures")
    execute.record = record
    return path


execute.record = None


def clean(notebook, folder) -> None:
    """Remove from outputs what changes from run to run: progress bars, dead widgets, paths of this machine.

    Example:
        >>> import nbformat
        >>> bar = nbformat.v4.new_output("stream", name="stderr", text="training  50%|#####     | 150/300")
        >>> nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("fit()", outputs=[bar])])
        >>> clean(nb, "/home/me/course")
        >>> nb.cells[0].outputs
        []
    """
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _merged([output for output in cell.outputs if not _is_volatile(output)])
            for output in cell.outputs:
                if output.output_type == "stream":
                    output.text = output.text.replace(f"{folder}{os.sep}", "")


def make_slides(source, folder, reveal=None) -> Path:
    """Write a reveal.js deck of a notebook's slides and return its path.

    Arguments:
        reveal: folder or address of reveal.js; None: the one on the web that nbconvert names.
    Raises:
        Problem: nbconvert is missing, or no cell of the source says which slide it is.
    Example:
        >>> from .sources import Source
        >>> make_slides(Source("L99", Path("lectures/99_none.py"), Path()), "runs/slides")
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] No such file or directory: 'lectures/99_none.py'
    """
    notebook = build.keep_outputs(build.complete(source), load(source.complete))
    if not any("slideshow" in cell.metadata for cell in notebook.cells if cell.cell_type == "markdown"):
        raise Problem(f'{source.key} has no slides: give its cells slideshow={{"slide_type": "slide"}}')
    try:
        from nbconvert import SlidesExporter
    except ModuleNotFoundError:
        raise Problem("this needs nbconvert; install it with `pip install 'lhcml-tutor[lab]'`") from None
    exporter = SlidesExporter(exclude_input_prompt=True, exclude_output_prompt=True)
    if reveal:
        exporter.reveal_url_prefix = reveal
    path = Path(folder) / f"{source.path.stem}.slides.html"
    write_text(path, exporter.from_notebook_node(notebook)[0])
    return path


@contextmanager
def environment(source, scale=None, parameters=None, strict=True, until=None, threads=None):
    """Give the environment of a run, and the collector of its records."""
    asked = scale or os.environ.get("LHCML_SCALE")
    if asked and asked not in SCALES:
        raise Problem(f"{asked!r} is not a scale; it is one of {', '.join(SCALES)}")
    check_parameters(source, parameters or {})
    folder = runs_folder(source.root).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    records = _Records(folder, Path(tempfile.mkdtemp(prefix=".running-", dir=folder)))
    env = {**os.environ, "LHCML_NOTEBOOK": source.key, "LHCML_CODE": source.code, "LHCML_STRICT": str(int(strict))}
    env |= {"LHCML_RUNS": str(records.running), "LHCML_PARAMETERS": json.dumps(parameters or {}), "MPLBACKEND": "Agg"}
    env |= {"LHCML_UNTIL": until or "", "PYTHONUNBUFFERED": "1"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE), env.get("PYTHONPATH")]))
    if scale:
        env["LHCML_SCALE"] = scale
    if threads:
        env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    try:
        yield env, records
    finally:
        shutil.rmtree(records.running, ignore_errors=True)


class _Records:
    """The records of one run, moved to runs/ only after it has ended well: what lies there is whole."""

    def __init__(self, folder, running):
        self.folder, self.running = folder, running

    def collect(self):
        paths = sorted(self.running.glob("*.json"))
        documents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        for path in paths:
            path.replace(self.folder / path.name)
        return documents[-1] if documents else None


def _in_kernel(notebook, source, env, say):
    try:
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    except ModuleNotFoundError:
        raise Problem("this needs nbclient; install it with `pip install 'lhcml-tutor[notebooks]'`") from None
    last, started = len(notebook.cells), {}

    def begin(cell, cell_index):
        started[cell_index] = time.perf_counter()

    def end(cell, cell_index, **_):
        if cell.cell_type == "code":
            first = next(iter(cell.source.splitlines()), "")
            say(f"[{cell_index + 1:3d}/{last}] {time.perf_counter() - started[cell_index]:6.1f} s  {first[:80]}")

    folder = source.complete.parent
    folder.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only: no word on the transport of its messages
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=begin,
        on_cell_executed=end,
    )
    try:
        client.execute(env=env)
    except CellExecutionError as error:
        number = next(i for i, cell in enumerate(notebook.cells, 1) if _failed(cell))
        raise Problem(f"cell {number} of {source.key} failed; nothing was stored\n{error}") from None
    except (CellTimeoutError, DeadKernelError) as error:
        raise Problem(f"the kernel of {source.key} died or timed out; nothing was stored\n{error}") from None


def _failed(cell):
    return any(output.output_type == "error" for output in cell.get("outputs", []))


def _without_band(notebook, scale):
    calls = [call for cell in notebook.cells if cell.cell_type == "code" for call in verdict_calls(cell.source)]
    unset = []
    for call in calls:
        band = next((word.value for word in call.keywords if word.arg == scale), None)
        if getattr(band, "value", band) is None and call.args:
            unset.append(repr(getattr(call.args[0], "value", "?")))
    return unset


def _is_volatile(output):
    if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
        return True
    return output.output_type == "stream" and output.name == "stderr" and bool(PROGRESS_BAR.search(output.text))


def _merged(outputs):
    """Join the streams that a removed progress bar had kept apart."""
    merged = []
    for output in outputs:
        before = merged[-1] if merged else None
        if before and output.output_type == before.output_type == "stream" and output.name == before.name:
            before.text += output.text
        else:
            merged.append(output)
    return merged


def _save_figures(notebook, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9].png"):
        old.unlink()
    images = [output.data["image/png"] for cell in notebook.cells for output in cell.get("outputs", [])
              if "image/png" in output.get("data", {})]  # fmt: skip
    for number, image in enumerate(images, 1):
        (folder / f"{number:02d}.png").write_bytes(base64.b64decode(image))
