"""Student notebooks run untouched to the end; with `make test-all` all of them, and the course at laptop scale."""

import nbformat
import pytest
from nbclient import NotebookClient

from lhcml_tutor.notebooks import execute, sources

ALWAYS = {"01a"}  # of the student notebooks; the others in `make test-all`
EVERYTHING = pytest.mark.everything
SOURCES = sources.find()
STUDENTS = [key for key, source in SOURCES.items() if source.student]


def printed(notebook):
    """Return what the cells of a notebook printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


@pytest.mark.parametrize("key", [pytest.param(k, marks=[] if k in ALWAYS else EVERYTHING) for k in STUDENTS])
def test_untouched_student_notebook_runs_to_the_end(key):
    source = SOURCES[key]
    notebook = nbformat.read(source.student, as_version=4)
    folder = {"metadata": {"path": str(source.student.parent)}}
    with execute.environment(source, "ci") as (env, _):
        env.pop("MPLBACKEND")
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=folder).execute(env=env)
    said = printed(notebook).splitlines()
    exercises = sum("solution" in cell.metadata.get("tags", []) for cell in sources.read(source.text).cells)
    assert sum(line.startswith("NOT ATTEMPTED") for line in said) == exercises > 0
    assert not [line for line in said if line.startswith(("OUTSIDE", "NOT YET"))]


@EVERYTHING
@pytest.mark.parametrize("key", SOURCES)
def test_notebook_at_laptop_scale(key, tmp_path):
    path = execute.execute(SOURCES[key], scale="laptop", output=tmp_path, say=lambda line: None)
    said = printed(nbformat.read(path, as_version=4)).splitlines()
    stored = printed(nbformat.read(SOURCES[key].complete, as_version=4)).splitlines()

    def judged(lines):
        return [line for line in lines if line.startswith(("PASS", "OUTSIDE", "NOT "))]

    assert judged(said) == judged(stored)
