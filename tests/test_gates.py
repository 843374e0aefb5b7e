"""Each gate is proven with planted faults: the fault turns exactly that gate red."""

import nbformat
import pytest

from lhcml_tutor.notebooks import build, colab, files, gates


def red(course):
    """Return the names of the gates that are red on any source."""
    return {name for name, gate in gates.GATES.items() for source in course.sources().values() if gate(source)}


def change(path, edit):
    """Edit a stored notebook in place, past the builder."""
    notebook = files.load(path)
    edit(notebook, [cell for cell in notebook.cells if cell.cell_type == "code"])
    path.write_text(files.dump(notebook))


def test_no_gate_is_red_on_a_sound_course(course):
    assert red(course) == set()
    assert build.drifted(course.root) == []


def test_stale_output(course):
    """The code was edited and the notebook updated around its old outputs, as `jupytext --update` does."""
    old = files.load(course["L98"].complete)
    course.edit(course.lecture, 'print("two")', 'print("second")')
    notebook = build.complete(course["L98"])
    for new, before in zip(notebook.cells, old.cells):
        if new.cell_type == "code":
            new.outputs, new.execution_count = before.outputs, before.execution_count
    notebook.metadata["lhcml"] = old.metadata["lhcml"]
    files.write_text(course["L98"].complete, files.dump(notebook))
    assert red(course) == {"stale"}


def test_edited_source_with_an_old_notebook(course):
    course.edit(course.lecture, 'print("two")', 'print("second")')
    assert red(course) == {"pair", "stale"}


def test_edited_prose_keeps_outputs(course):
    course.edit(course.lecture, "Continue with", "Go on with")
    assert red(course) == {"pair"}
    build.build(course.root)
    assert red(course) == set()


def test_edited_code_drops_outputs(course):
    course.edit(course.lecture, 'print("two")', 'print("second")')
    build.build(course.root)
    assert red(course) == {"executed"}


@pytest.mark.parametrize("which", ["complete", "student"])
def test_drifted_pair(course, which):
    def edit(notebook, _):
        notebook.cells[0].source += "\n\nEdited in Jupyter."

    change(getattr(course["98a"], which), edit)
    assert red(course) == {"pair"}


def test_null_execution_count(course):
    change(course["L98"].complete, lambda _, cells: cells[2].update(execution_count=None))
    assert red(course) == {"executed"}


def test_cells_executed_out_of_order(course):
    change(course["L98"].complete, lambda _, cells: cells[2].update(execution_count=9))
    assert red(course) == {"executed"}


def test_error_output(course):
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    change(course["L98"].complete, lambda _, cells: cells[4].outputs.append(error))
    assert red(course) == {"errors"}


@pytest.mark.parametrize("line", ["OUTSIDE  slope is 9", "NOT YET MEASURED  slope", "NOT ATTEMPTED  slope: the"])
def test_verdict_that_did_not_pass(course, line):
    output = nbformat.v4.new_output("stream", name="stdout", text=f"{line}\n")
    change(course["98a"].complete, lambda _, cells: cells[1].outputs.append(output))
    assert red(course) == {"errors"}


def test_too_few_checked_cells(course):
    course.edit(course.lecture, "# NBVAL_CHECK_OUTPUT\nprint", "print")
    course.execute()
    assert red(course) == {"checked"}


def test_checked_cell_without_output(course):
    change(course["L98"].complete, lambda _, cells: cells[2].update(outputs=[]))
    assert red(course) == {"checked"}


def test_checked_explorer(course):
    course.edit(
        course.lecture, '# %%\n# NBVAL_CHECK_OUTPUT\nprint("two")', '# %% tags=["explorer"]\n# NBVAL_CHECK_OUTPUT\n2'
    )
    course.execute()
    assert red(course) == {"checked"}


def test_solution_left_in_the_student_notebook(course, monkeypatch):
    monkeypatch.setattr(build, "stub", lambda cell: cell.replace("weighted = ", "weighted = 1 * "))
    build.build(course.root)
    assert red(course) == {"hidden"}


def test_outputs_in_the_student_notebook(course):
    output = nbformat.v4.new_output("stream", name="stdout", text="PASS\n")
    change(course["98a"].student, lambda _, cells: cells[3].outputs.append(output))
    assert red(course) == {"hidden"}


@pytest.mark.parametrize(
    ("values", "control", "said"),
    [
        ([2.0, 2.1, 1.9, 2.0, 2.6], 0.0, "does not cover 2.6"),
        ([2.0, 2.1, 1.9, 2.0, None], 0.0, "does not cover nan"),
        ([2.0, 2.1, 1.9, 2.0, 2.05], 1.6, "does not reject flat"),
        ([2.0, 2.1, 1.9, 2.0], 0.0, "4 seeds"),
        ([2.0, 2.0, 2.0, 2.0, 2.0], 0.0, "twice the rule"),
    ],
)
def test_wrong_band(course, values, control, said):
    if said == "twice the rule":
        course.edit(course.tutorial, "ci=(1.5, 2.5)", "ci=(1.5, 2.9)")
        course.execute()
    course.store("ci", values, control)
    assert red(course) == {"bands"}
    assert any(said in problem for problem in gates.bands(course["98a"]))


def test_verdict_without_control(course):
    course.edit(course.root / "data/results/98a.ci.json", '{"flat": 0.0}', "{}")
    assert red(course) == {"bands"}


def test_results_of_older_code(course):
    course.edit(course.tutorial, '"PASS  three"', '"PASS  3"')
    course.execute()
    assert red(course) == {"bands"}


def test_band_that_no_test_can_read(course):
    course.edit(course.tutorial, "ci=(1.5, 2.5)", "ci=band")
    course.execute()
    assert red(course) == {"bands"}


@pytest.mark.parametrize(
    "number", ["arXiv:1613.08803", "arXiv:1605.0880", "arXiv:160508803", "arXiv:hep-ph/9913001", "arxiv.org/abs/16.05"]
)
def test_malformed_arxiv_number(course, number):
    course.edit(course.lecture, "arXiv:1605.08803", number)
    course.execute()
    assert red(course) == {"references"}


def test_figure_without_alt_text(course):
    change(course["L98"].complete, lambda _, cells: cells[4].outputs[0].metadata.clear())
    assert red(course) == {"figures"}


def test_notebook_too_large(course):
    change(course["L98"].complete, lambda _, cells: cells[4].outputs[0].data.update({"image/png": "A" * 400_000}))
    assert red(course) == {"figures"}


def test_badge_for_a_missing_file(course, monkeypatch):
    monkeypatch.setattr(colab, "badge", lambda path, badge=colab.badge: badge(f"notebooks/{path}"))
    build.build(course.root)
    assert red(course) == {"links"}


def test_link_to_a_missing_file(course):
    course.edit(course.lecture, "../tutorials/98a_lines.ipynb", "../tutorials/98b_lines.ipynb")
    build.build(course.root)
    assert red(course) == {"links"}


def test_cell_too_long(course):
    course.edit(course.lecture, 'print("two")', "\n".join(["x = 1"] * 40))
    course.execute()
    assert red(course) == {"cells"}


def test_cell_that_may_raise(course):
    course.edit(course.lecture, "# %%\nfigure", '# %% tags=["raises-exception"]\nfigure')
    course.execute()
    assert red(course) == {"cells"}


def test_cell_that_asks_for_the_scale(course):
    course.edit(course.lecture, 'print("two")', 'scale = "ci"\nif scale == "ci":\n    print("two")')
    course.execute()
    assert red(course) == {"cells"}


def test_notebook_without_source(course):
    course.lecture.with_name("97_old.ipynb").write_text("{}")
    assert "97_old.ipynb has no source" in build.drifted(course.root)[0]


def test_stale_table_of_the_readme(course):
    course.edit(course.root / "README.md", "Fit a line", "Fit a curve")
    assert "README.md differs" in build.drifted(course.root)[0]
