"""Tests run at the smallest scale, on one thread, and record nothing in the checkout."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

RUNS = tempfile.mkdtemp(prefix="lhcml-runs-")
os.environ.setdefault("LHCML_SCALE", "ci")
os.environ.setdefault("LHCML_STRICT", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["LHCML_RUNS"] = RUNS  # notebooks under nbval inherit it, too
os.environ.setdefault("MPLBACKEND", "Agg")

LECTURE = """\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Straight lines", kind: lecture, extras: [], gpu: false, minutes: {laptop: 1, gpu: 1}}
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # 98 Straight lines
#
# Continue with [the tutorial](../tutorials/98a_lines.ipynb). Source: arXiv:1605.08803.

# %%
# NBVAL_CHECK_OUTPUT
print("one")

# %%
# NBVAL_CHECK_OUTPUT
print("two")

# %%
# NBVAL_CHECK_OUTPUT
print("three")

# %%
figure = "a figure"
figure
"""

TUTORIAL = '''\
# ---
# jupyter:
#   kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
#   lhcml: {title: "Fit a line", kind: tutorial, extras: [], gpu: true, minutes: {laptop: 2, gpu: 1}}
# ---

# %% [markdown]
# # 98a Fit a line
#
# Start with [the lecture](../lectures/98_lines.ipynb).

# %%
import lhcml_tutor as lt

scale = lt.scale()
p = lt.parameters(n_train=scale.pick(ci=10, laptop=100, gpu=1000), seed=1)

# %% tags=["solution"]
def slope(x, y):
    """Return the slope of a line through the origin; x, y (n,)."""
    # solution
    weighted = (x * y).sum()
    return weighted / (x * x).sum()

# %%
# NBVAL_CHECK_OUTPUT
print("PASS  slope")

# %% [markdown]
# [solution](solutions/98a_lines.ipynb)

# %%
# NBVAL_CHECK_OUTPUT
lt.verdict("slope", 2.0, ci=(1.5, 2.5), laptop=(1.5, 2.5), gpu=None, control={"flat": 0.0})

# %%
# NBVAL_CHECK_OUTPUT
print("PASS  three")
'''


class Course:
    """A small course in a temporary folder, built and executed by hand, with results of five seeds: no gate is red."""

    def __init__(self, root):
        from lhcml_tutor.notebooks import build, sources

        self.root = root
        self.lecture, self.tutorial = root / "lectures" / "98_lines.py", root / "tutorials" / "98a_lines.py"
        for path, text in ((self.lecture, LECTURE), (self.tutorial, TUTORIAL)):
            path.parent.mkdir()
            path.write_text(text)
        (root / "README.md").write_text("<!-- chapters:begin --><!-- chapters:end -->\n")
        self.sources = lambda: sources.find(root)
        self.execute()
        for scale in ("ci", "laptop"):
            self.store(scale, [2.0, 2.1, 1.9, 2.0, 2.05])
        build.build(root)

    def __getitem__(self, key):
        return self.sources()[key]

    def execute(self):
        """Give every notebook the outputs of a run, without a kernel."""
        import nbformat

        from lhcml_tutor.notebooks import build, files

        for source in self.sources().values():
            notebook = build.complete(source)
            for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
                cell.execution_count = count
                if "NBVAL_CHECK_OUTPUT" in cell.source:
                    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="PASS  it holds\n")]
                if "a figure" in cell.source:
                    alt = {"image/png": {"alt": "A straight line through ten points"}}
                    data = {"image/png": "iVBORw0KGgo=", "text/plain": "figure"}
                    cell.outputs = [nbformat.v4.new_output("display_data", data=data, metadata=alt)]
            notebook.metadata["lhcml"]["scale"] = "laptop"
            files.write_text(source.complete, files.dump(notebook))
        build.build(self.root)

    def store(self, scale, values, control=0.0):
        """Store one run of the tutorial for each value."""
        from lhcml_tutor.notebooks import results

        source = self["98a"]
        runs = [self.run(value, seed, control) for seed, value in enumerate(values, 1)]
        document = {"schema": 1, "notebook": "98a", "scale": scale, "runs": runs}
        path = results.path_of(source, scale)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(results.dumps(document))

    def run(self, value, seed, control=0.0, **changed):
        """Return a stored run."""
        verdict = {"name": "slope", "value": value, "band": None, "status": "PASS", "floor": 0.1}
        return {
            "seed": seed,
            "parameters": {"n_train": 10, **changed},
            "changed": sorted(changed),
            "device": "cpu, 1 threads",
            "seconds": 1.0,
            "date": "2026-01-01",
            "code": self["98a"].code,
            "versions": {"python": "3.11", "torch": "2.6"},
            "verdicts": [{**verdict, "control": {"flat": control}}],
        }

    def record(self, scale, *runs):
        """Put runs into the folder that `lhcml` records in."""
        for number, run in enumerate(runs):
            path = Path(os.environ["LHCML_RUNS"]) / f"98a.{scale}.{number:04d}.json"
            path.write_text(json.dumps({**run, "scale": scale, "until": run.get("until")}))

    def edit(self, path, old, new):
        """Replace text of a file that must be there."""
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A small course whose every gate is green, and `lhcml` working on it."""
    monkeypatch.setenv("LHCML_ROOT", str(tmp_path))
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("LHCML_RUNS", str(tmp_path / "runs"))
    return Course(tmp_path)


LONGEST = "test_environments.py"  # a file runs on one worker: begun last, it would run alone for minutes


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != LONGEST)
    if not os.environ.get("LHCML_TEST_ALL"):
        skip = pytest.mark.skip(reason="takes minutes; `make test-all` runs it")
        for item in items:
            if item.get_closest_marker("everything"):
                item.add_marker(skip)


def pytest_unconfigure():
    shutil.rmtree(RUNS, ignore_errors=True)
