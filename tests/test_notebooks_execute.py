"""Running a source and executing its notebook, on a source that needs no torch."""

import json
import subprocess
import sys

import nbformat
import pytest

from lhcml_tutor.notebooks import execute, files
from lhcml_tutor.notebooks.sources import Problem

SMALL = """\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Small", kind: lecture, extras: [], gpu: false, minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 98 Small

# %%
import json, os, sys
from pathlib import Path

shown = {name: os.environ.get(name) for name in ("LHCML_SCALE", "LHCML_NOTEBOOK", "LHCML_STRICT", "LHCML_PARAMETERS")}
print(json.dumps(shown))
Path(os.environ["LHCML_RUNS"], "98.ci.1.json").write_text('{"verdicts": []}')

# %%
print("before", Path(PLACE) / "file") if (PLACE := os.environ["LHCML_ROOT"]) else None
for i in range(3):
    print(f"\\rtraining {50 * i}%|###", end="", file=sys.stderr)
print("after")

# %%
try:
    from IPython.display import Image, display
    display(Image(data=b"\\x89PNG\\r\\n\\x1a\\n" + 20 * b"\\0"))
except ImportError:
    pass
"""


@pytest.fixture
def small(course):
    course.lecture.write_text(SMALL)
    return course


def test_run_as_a_plain_script(small):
    seen = execute.run(small["L98"], scale="ci", capture=True)
    assert seen.status == 0 and seen.record == {"verdicts": []}
    told = json.loads(seen.output.splitlines()[0])
    assert told == {"LHCML_SCALE": "ci", "LHCML_NOTEBOOK": "L98", "LHCML_STRICT": "1", "LHCML_PARAMETERS": "{}"}
    assert [path.name for path in (small.root / "runs").iterdir()] == ["98.ci.1.json"]


def test_failed_run_leaves_no_record(small):
    small.edit(small.lecture, 'print("after")', "1 / 0")
    seen = execute.run(small["L98"], scale="ci", strict=False, capture=True)
    assert seen.status == 1 and "ZeroDivisionError" in seen.output and seen.record is None
    assert not list((small.root / "runs").iterdir())


def test_execute_stores_clean_outputs(small):
    said = []
    path = execute.execute(small["L98"], scale="ci", output=small.root / "out", say=said.append)
    notebook = files.load(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4]
    assert cells[2].outputs == [nbformat.v4.new_output("stream", name="stdout", text="before file\nafter\n")]
    assert [path.name for path in (small.root / "out" / "figures").iterdir()] == ["01.png"]
    assert notebook.metadata["lhcml"]["scale"] == "ci" and "widgets" not in notebook.metadata
    assert "iopub" not in path.read_text() and len(said) == 4
    assert execute.execute.record == {"verdicts": []}
    assert small["L98"].complete.read_text() != path.read_text()  # the tracked one is as it was


def test_execute_names_the_cell_that_failed(small):
    small.edit(small.lecture, 'print("after")', "1 / 0")
    before = small["L98"].complete.read_text()
    with pytest.raises(Problem, match="cell 4 of L98 failed; nothing was stored") as error:
        execute.execute(small["L98"], say=lambda _: None)
    assert "ZeroDivisionError" in str(error.value) and small["L98"].complete.read_text() == before


def test_execute_refuses_a_scale_without_bands(course):
    with pytest.raises(Problem, match=r"without a band at scale gpu: 'slope'.*lhcml bands 98a --scale gpu"):
        execute.execute(course["98a"], scale="gpu")


def test_clean():
    view = "application/vnd.jupyter.widget-view+json"
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="100%|####| 3/3 [00:01<00:00]"),
        nbformat.v4.new_output("stream", name="stderr", text="UserWarning: careful\n"),
        nbformat.v4.new_output("display_data", data={view: {}, "text/plain": "IntSlider(value=3)"}),
        nbformat.v4.new_output("stream", name="stdout", text="in /home/me/course/figures\n"),
    ]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs, metadata={"execution": {"iopub.status.busy": "now"}})
    notebook = nbformat.v4.new_notebook(
        cells=[cell], metadata={"widgets": {}, "language_info": {"name": "python", "version": "3.11.7"}}
    )
    execute.clean(notebook, "/home/me/course")
    assert [output.text for output in cell.outputs] == ["UserWarning: careful\n", "in figures\n"]
    assert cell.metadata == {} and notebook.metadata == {"language_info": {"name": "python"}}


def test_nbval_compares_the_checked_cells(course):
    """The planted fault: a stored output is not what the code prints now."""
    sound, faulty = course["L98"].complete, course.root / "lectures" / "97_faulty.ipynb"
    for path, second in ((sound, "two"), (faulty, "2")):
        notebook = files.load(sound)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for cell, text in zip(cells[1:4], ("one", second, "three")):
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"{text}\n")]
        path.write_text(files.dump(notebook))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    done = subprocess.run([*command, str(sound), str(faulty)], cwd=course.root, capture_output=True, text=True)
    failed = [line.split(" ")[1] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed == ["lectures/97_faulty.ipynb::Cell"] and "9 passed" in done.stdout, done.stdout


def test_slides(course, tmp_path):
    path = execute.make_slides(course["L98"], tmp_path / "slides", reveal="reveal.js")
    text = path.read_text()
    assert path.name == "98_lines.slides.html" and "reveal.js/dist/reveal.js" in text and "Straight lines" in text
    with pytest.raises(Problem, match="98a has no slides"):
        execute.make_slides(course["98a"], tmp_path / "slides")
