"""The command `lhcml`: what works, and that each wrong call ends with status 2 and a line that says how to mend it."""

import subprocess
import sys

import pytest

from lhcml_tutor.cli import main


def call(capsys, *arguments):
    """Return exit status, standard output and standard error of one call."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "99z"], "lhcml: no notebook '99z'; known are L98, 98a"),
        (["execute", "99z"], "lhcml: no notebook '99z'; known are L98, 98a"),
        (["run", "98a", "--scale", "huge"], "lhcml: 'huge' is not a scale; it is one of ci, laptop, gpu"),
        (["execute", "98a", "--scale", "huge"], "lhcml: 'huge' is not a scale"),
        (["bands", "98a", "--scale", "huge"], "lhcml: 'huge' is not a scale"),
        (["scan", "98a", "--scale", "huge"], "lhcml: 'huge' is not a scale"),
        (["promote", "98a", "--scale", "huge"], "lhcml: 'huge' is not a scale"),
        (["run", "98a", "-p", "n_train"], "lhcml: -p 'n_train' is not NAME=VALUE, such as -p n_train=1000"),
        (["run", "98a", "-p", "n_train="], "lhcml: -p 'n_train=' is not NAME=VALUE"),
        (["run", "98a", "-p", "n train=3"], "lhcml: -p 'n train=3' is not NAME=VALUE"),
        (["run", "98a", "-p", "n_train=1", "-p", "n_train=2"], "lhcml: -p n_train is given twice"),
        (["run", "98a", "-p", "n_trian=1000"], "lhcml: 98a has no parameter 'n_trian'; it has: seed, n_train"),
        (["scan", "98a", "-p", "n_train=10,many"], "lhcml: 98a: parameter n_train='many' must be of type int"),
        (["scan", "98a", "-p", "n_train=10,"], "lhcml: 98a: parameter n_train='' must be of type int"),
        (["run", "98a", "--seed", "one"], "Invalid value for '--seed'"),
        (["scan", "98a", "--until", "width"], "lhcml: 98a has no verdict 'width'; it has: slope"),
        (["bands", "98a", "--seeds", "0"], "Invalid value for '--seeds'"),
        (["bands", "98a", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["promote", "98a"], "lhcml: runs/ holds no run of 98a at any scale with its current code"),
        (["slides", "98a"], "lhcml: 98a has no slides"),
        (["data", "burn"], "No such command 'burn'"),
        (["data", "make"], "Missing argument 'NAME'"),
        (["data", "make", "qqqq"], "lhcml: there is no sample 'qqqq' that can be made; there are: z_mumu"),
        (["dance"], "No such command 'dance'"),
        (["run"], "Missing argument 'ID'"),
    ],
    ids=" ".join,
)
def test_wrong_call(course, capsys, arguments, said):
    status, _, error = call(capsys, *arguments)
    assert status == 2
    assert said in error and "Traceback" not in error


def test_no_course_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LHCML_ROOT", str(tmp_path))
    status, _, error = call(capsys, "run", "01a")
    assert status == 2 and f"no notebook '01a'; there are none in {tmp_path}/lectures" in error


@pytest.mark.parametrize("arguments", [["run", "98a"], ["course", "98a"], ["scan", "98a"]], ids=" ".join)
def test_wrong_scale_in_the_environment(course, capsys, monkeypatch, arguments):
    monkeypatch.setenv("LHCML_SCALE", "huge")
    status, _, error = call(capsys, *arguments)
    assert status == 2 and "'huge' is not a scale" in error and "Traceback" not in error


def test_list(course, capsys):
    status, said, _ = call(capsys, "list")
    assert status == 0
    assert [line.split()[0] for line in said.splitlines()] == ["L98", "98a"]
    assert "Fit a line" in said and "executed at laptop scale; measured at ci (5 seeds)" in said


def test_build_and_check(course, capsys):
    assert call(capsys, "build", "--check")[:2] == (0, "2 sources and their notebooks agree\n")
    course.edit(course.tutorial, "Start with", "Begin with")
    status, said, _ = call(capsys, "build", "--check")
    assert status == 1 and [line.split("/")[-1].split()[0] for line in said.splitlines()] == ["98a_lines.ipynb"] * 2
    status, said, _ = call(capsys, "build")
    assert status == 0 and "wrote tutorials/98a_lines.ipynb" in said
    assert call(capsys, "build", "--check")[0] == 0


def test_run_passes_its_options_on(course, capfd):
    course.lecture.write_text(
        "# %%\nimport os\np = lt.parameters(n_train=10) if 0 else None\n"
        "print(*(os.environ[n] for n in ('LHCML_SCALE', 'LHCML_STRICT', 'LHCML_PARAMETERS')), flush=True)\n"
    )
    arguments = ("--scale", "laptop", "--seed", "3", "-p", "n_train=1e3", "--no-strict")
    status, said, _ = call(capfd, "run", "L98", *arguments)
    assert status == 0 and 'laptop 0 {"n_train": "1e3", "seed": 3}' in said and "L98 ended well after" in said
    course.edit(course.lecture, "print", "1 / 0\nprint")
    status, said, error = call(capfd, "run", "L98")
    assert status == 1 and "L98 failed with status 1" in said and "ZeroDivisionError" in error


def test_course_says_what_came_out_and_how_to_go_on(course, capsys, monkeypatch):
    from lhcml_tutor.notebooks import execute

    def executed(source, *, scale, output, strict):
        assert not strict and output == course.root / "runs" / "course"
        execute.execute.record = course.run(value, seed=1)
        execute.execute.record["verdicts"][0].update(band=[1.5, 2.5], status=status)
        return output / "98a_lines.ipynb"

    executed.record = None
    monkeypatch.setattr(execute, "execute", executed)
    for value, status, code in ((2.0, "PASS", 0), (9.0, "OUTSIDE", 2), (None, "OUTSIDE", 2)):  # noqa: B007 - `executed` reads it
        ended, said, error = call(capsys, "course", "98a")
        assert ended == code and f"{status} " in said and "slope" in said and "make lab" in said
        assert "runs/course/figures" in said.replace("\\", "/")
        assert ("`lhcml doctor`" in error) == (code == 2)


def test_promote_renews_the_readme(course, capsys):
    course.record("laptop", *(course.run(2.25, seed) for seed in range(1, 6)))
    status, said, _ = call(capsys, "promote", "98a", "--scale", "laptop")
    assert status == 0 and "98a.laptop.json: 5 runs" in said


def test_missing_typer(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "lhcml_tutor.commands", raising=False)
    status, _, error = call(capsys, "list")
    assert status == 2 and "pip install typer" in error


def test_missing_jupytext(course, monkeypatch, capsys):
    from lhcml_tutor.notebooks import sources

    sources._read.cache_clear()
    monkeypatch.setitem(sys.modules, "jupytext", None)
    status, _, error = call(capsys, "build")
    assert status == 2 and "pip install 'lhcml-tutor[notebooks]'" in error


def test_interrupt(course, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lhcml_tutor.notebooks.build.drifted", interrupted)
    status, _, error = call(capsys, "build", "--check")
    assert status == 130 and "Traceback" not in error


def test_help_of_every_command(capsys):
    status, said, _ = call(capsys, "--help")
    assert status == 0
    for name in ("build", "run", "execute", "course", "bands", "scan", "promote", "list", "slides", "data", "doctor"):
        assert f"  {name} " in said
        status, told, _ = call(capsys, name, "--help")
        assert status == 0 and (name == "doctor" or f"Example: lhcml {name}" in told)


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "lhcml_tutor", "run", "99z"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("lhcml: no notebook '99z'")
