"""Every notebook of the course passes every gate."""

import pytest

from lhcml_tutor.notebooks import build, gates, sources

SOURCES = sources.find()


@pytest.mark.parametrize("gate", gates.GATES)
@pytest.mark.parametrize("key", SOURCES)
def test_gate(key, gate):
    problems = gates.GATES[gate](SOURCES[key])
    assert not problems, "\n".join(problems)


def test_the_course_is_here():
    assert SOURCES, "no source was found, so the gates above judged nothing"


def test_everything_is_built():
    problems = build.drifted()
    assert not problems, "\n".join(problems)


def test_readme_has_its_generated_tables():
    text = (sources.root() / "README.md").read_text()
    for name in ("chapters", "results", "taggers"):
        assert f"<!-- {name}:begin -->" in text and f"<!-- {name}:end -->" in text


def test_arxiv_numbers_of_package_and_pages():
    root = sources.root()
    paths = [*root.glob("lhcml_tutor/**/*.py"), *root.glob("*.md")]
    problems = [problem for path in paths for problem in gates.malformed(path.read_text(), path.name)]
    assert not problems, "\n".join(problems)
