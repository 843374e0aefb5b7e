"""From source to notebook: student versions, badges, links, identifiers, and what is kept of old outputs."""

import json
from types import SimpleNamespace

import pytest

from lhcml_tutor.notebooks import build, files, readme, results, sources, student
from lhcml_tutor.notebooks.sources import Problem


@pytest.mark.parametrize(
    ("cell", "wanted", "cut"),
    [
        (
            'def f(x):\n    """Doc."""\n    y = x\n    # solution\n    z = y\n\n    return z',
            'def f(x):\n    """Doc."""\n    y = x\n    return lt.TODO',
            3,
        ),
        ('def f(x):\n    """Doc."""\n    return x', 'def f(x):\n    """Doc."""\n    return lt.TODO', 1),
        (
            "def f(x):\n    # solution\n    return x\n\n\ndef g(x):\n    # solution\n    return x\n\n\nprint(g)",
            "def f(x):\n    return lt.TODO\n\n\ndef g(x):\n    return lt.TODO\n\n\nprint(g)",
            None,
        ),
        ("# read it off\nanswer = 3.0", "# read it off\nanswer = lt.TODO", 1),
        ("shown = 1\n# solution\na, b = 1, 2\nc = a", "shown = 1\na = lt.TODO\nb = lt.TODO\nc = lt.TODO", 2),
        (
            "class Net:\n    def forward(self, x):\n        # solution\n        return x\n\n    def size(self): 1",
            "class Net:\n    def forward(self, x):\n        return lt.TODO\n\n    def size(self): 1",
            None,
        ),
    ],
)
def test_stub(cell, wanted, cut):
    kept, lines = student.split(cell)
    assert kept == wanted
    assert cut is None or len([line for line in lines if line]) == cut - ("\n\n" in cell and "def" in wanted)
    compile(kept, "stub", "exec")


@pytest.mark.parametrize("cell", ["print(1)", "def f(:", "# solution\nprint(1)", 'def f(x):\n    """Doc."""'])
def test_solution_cell_with_nothing_to_cut(cell):
    with pytest.raises(Problem):
        student.stub(cell)


def test_student_notebook(course):
    notebook = files.load(course["98a"].student)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "weighted" not in text and "return lt.TODO" in text and '"""Return the slope' in text
    [exercise] = [cell for cell in notebook.cells if cell.metadata.get("tags") == ["exercise"]]
    assert exercise.source.startswith("def slope(x, y):")
    assert "(solutions/98a_lines.ipynb)" in text and "(../lectures/98_lines.ipynb)" in text
    assert "code" not in notebook.metadata["lhcml"] and notebook.metadata["accelerator"] == "GPU"


def test_complete_notebook(course):
    notebook = files.load(course["98a"].complete)
    title, setup = notebook.cells[:2]
    assert title.source.startswith("# 98a Fit a line\n\n[![Open in Colab]")
    assert "/tutorials/98a_lines.ipynb)" in title.source  # the student's notebook, not this one
    assert "(../../lectures/98_lines.ipynb)" in title.source
    assert "(98a_lines.ipynb)" in "\n".join(cell.source for cell in notebook.cells)
    assert setup.metadata["tags"] == ["setup"] and setup.cell_type == "code"
    assert notebook.metadata["lhcml"]["code"] == course["98a"].code


def test_lecture_keeps_its_slides_and_no_accelerator(course):
    notebook = files.load(course["L98"].complete)
    assert notebook.cells[0].metadata["slideshow"] == {"slide_type": "slide"}
    assert notebook.cells[1].metadata["slideshow"] == {"slide_type": "skip"}
    assert "accelerator" not in notebook.metadata


def test_identifiers_are_deterministic_and_unique(course):
    first, second = build.complete(course["L98"]), build.complete(course["L98"])
    ids = [cell.id for cell in first.cells]
    assert ids == [cell.id for cell in second.cells] and len(set(ids)) == len(ids)
    assert files.dump(first) == files.dump(second)


def test_build_writes_only_what_changed(course):
    assert build.build(course.root) == []
    course.edit(course.lecture, "Continue with", "Go on with")
    assert build.build(course.root) == [course["L98"].complete]
    assert files.load(course["L98"].complete).cells[3].outputs  # prose leaves outputs alone


def test_changed_code_drops_outputs(course):
    course.edit(course.lecture, 'print("two")', 'print("second")')
    build.build(course.root)
    notebook = files.load(course["L98"].complete)
    assert not any(cell.get("outputs") for cell in notebook.cells) and "scale" not in notebook.metadata["lhcml"]


def test_table_of_chapters(course):
    text = (course.root / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| 98")]
    assert [row.split("|")[1].strip() for row in rows] == ["98", "98a"]
    assert "[Lecture: Straight lines](lectures/98_lines.ipynb)" in rows[0] and "| 1 / 1 |" in rows[0]
    assert "tutorials/98a_lines.ipynb)" in rows[1] and "executed at laptop scale" in rows[1]
    assert "measured at ci (5 seeds), laptop (5 seeds)" in rows[1]


def test_table_of_results(course):
    [row] = readme.measured(course.sources()).splitlines()[2:]
    assert row == "| 98a | slope | laptop | 2 | 1.9 to 2.1 | 5 | 1.5 to 2.5 |"


def test_scoreboard_of_taggers(tmp_path):
    def run(seed, tagger, auc, code="now", changed=("tagger",)):
        verdicts = [{"name": "second tagger, AUC", "value": auc}, {"name": "deep sets, AUC", "value": 0.98}]
        empty = dict.fromkeys(results.KEPT)
        return empty | {"seed": seed, "parameters": {"tagger": tagger}, "changed": list(changed), "code": code,
                        "verdicts": verdicts}  # fmt: skip

    runs = [
        *(run(1, "ParticleNet", 0.981, changed=()), run(2, "ParticleNet", 0.983, changed=())),
        *(run(1, "image", 0.96), run(2, "image", 0.9, code="old"), run(3, "image", 0.9, changed=("n_train",))),
    ]
    (tmp_path / "data" / "results").mkdir(parents=True)
    path = tmp_path / "data" / "results" / "04a.laptop.json"
    path.write_text(json.dumps({"schema": 1, "notebook": "04a", "scale": "laptop", "runs": runs}))
    source = SimpleNamespace(key="04a", root=tmp_path, code="now")
    rows = readme.scoreboard({"04a": source}).splitlines()[2:]
    assert rows == [
        "| deep sets | - | 0.9800 ± 0.0000 | - | - | - | 2 |",
        "| image | - | 0.9600 | - | - | - | 1 |",
        "| ParticleNet | - | 0.9820 ± 0.0014 | - | - | - | 2 |",
    ]


def test_state_of_a_notebook(course):
    course["98a"].complete.unlink()
    course.edit(course.lecture, 'print("two")', 'print("second")')
    assert readme.state(course["98a"]) == "not built" and readme.state(course["L98"]) == "to be built"
    build.build(course.root)
    assert readme.state(course["L98"]) == "not executed"


@pytest.mark.parametrize("header", ["{title: x, kind: tutorial, minutes: {laptop: 1}}", "{kind: lecture}"])
def test_header_that_says_too_little(course, header):
    line = next(line for line in course.lecture.read_text().splitlines() if "lhcml:" in line)
    course.edit(course.lecture, line, f"#   lhcml: {header}")
    with pytest.raises(Problem, match="its header needs a line `lhcml:"):
        build.build(course.root)


def test_order_of_the_course(tmp_path):
    for name in (
        "lectures/01_b.py",
        "lectures/00_a.py",
        "tutorials/01b_d.py",
        "tutorials/01a_c.py",
        "tutorials/00_a.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert list(sources.find(tmp_path)) == ["L00", "00", "L01", "01a", "01b"]
    for key in ("01a", "01A", "tutorials/01a_c.py", "01a_c"):
        assert sources.get(key, tmp_path).key == "01a"
