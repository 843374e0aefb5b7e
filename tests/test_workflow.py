"""The GitHub workflow and the citation file: valid under their schemas, and they run and say what the Makefile does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lhcml_tutor as lt
from lhcml_tutor.notebooks import colab

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
CITATION = ROOT / "CITATION.cff"


def validate(schema, path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "schema, path, fault",
    [
        ("vendor.github-workflows", WORKFLOW, ("runs-on:", "run-on:")),
        ("vendor.citation-file-format", CITATION, ("authors:", "writers:")),
    ],
)
def test_schema(schema, path, fault, tmp_path):
    ran = validate(schema, path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    broken = tmp_path / path.name
    assert fault[0] in path.read_text()
    broken.write_text(path.read_text().replace(*fault))
    assert validate(schema, broken).returncode == 1, "the judge must find a planted fault"


def test_workflow_runs_make_test_when_and_where_it_should():
    workflow = yaml.safe_load(WORKFLOW.read_text())
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as a truth value
    assert set(triggers) == {"push", "pull_request", "schedule"}
    day, month, weekday = triggers["schedule"][0]["cron"].split()[2:]
    assert (day, month) == ("*", "*") and weekday.isdigit(), "weekly"
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    setup = next(step for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make test PYTHON=python"]
    assert workflow["permissions"] == {"contents": "read"}


def test_the_course_is_cited_as_what_it_is():
    citation = yaml.safe_load(CITATION.read_text())
    assert citation["version"] == lt.__version__
    assert citation["repository-code"] == colab.repository()
    newest = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] in ("Unreleased", lt.__version__)
