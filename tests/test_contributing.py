"""The five steps of CONTRIBUTING.md, carried out word by word in a temporary copy of the tree."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from lhcml_tutor.notebooks import sources

ROOT = sources.root()
BLOCK = re.compile(r"^```(?P<language>\w+)[ ]?(?P<path>\S*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
STEPS = re.compile(r"^### (\d)\. ", re.MULTILINE)


@pytest.mark.skipif(not shutil.which("sh"), reason="the steps are written for a POSIX shell")
def test_a_new_chapter_in_five_steps(tmp_path):
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert STEPS.findall(text) == ["1", "2", "3", "4", "5"]
    copy = tmp_path / "a copy"
    shutil.copytree(ROOT / "lhcml_tutor", copy / "lhcml_tutor", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py", "tests/test_notebooks.py", "tests/test_exercises.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    (copy / "README.md").write_text("<!-- chapters:begin --><!-- chapters:end -->\n")
    lhcml = tmp_path / "bin" / "lhcml"
    lhcml.parent.mkdir()
    lhcml.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lhcml_tutor "$@"\n')
    lhcml.chmod(0o755)
    path = os.pathsep.join([str(lhcml.parent), os.path.dirname(sys.executable), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(copy), "LHCML_STRICT": "0"}
    for name in ("LHCML_RUNS", "LHCML_ROOT", "LHCML_SCALE"):
        env.pop(name, None)
    said = ""
    for block in BLOCK.finditer(text):
        if block["path"]:
            (copy / block["path"]).parent.mkdir(parents=True, exist_ok=True)
            (copy / block["path"]).write_text(block["text"])
            continue
        done = subprocess.run(["sh", "-ec", block["text"]], cwd=copy, env=env, text=True, stdout=-1, stderr=-2)
        assert done.returncode == 0, f"{block['text']}\n{done.stdout}"
        said += done.stdout
    assert re.search(r"proposed ci=\(1\.[78]\d*, 2\.2\d*\), rejects shuffled points", said), said
    assert "1 sources and their notebooks agree" in said
    assert re.search(r"\b1[0-9] passed", said), said
    assert "A straight line" in (copy / "README.md").read_text()
    assert (copy / "tutorials" / "solutions" / "99a_straight_line.ipynb").exists()
