"""README.md: its commands exist, its links lead somewhere, and the address is the one of pyproject.toml."""

import re
import subprocess
import sys
from pathlib import Path

from lhcml_tutor.notebooks import colab

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
CODE = [*re.findall(r"`([^`\n]+)`", PROSE), *(line for _, block in BLOCKS for line in block.splitlines())]
POWERSHELL = [line for kind, block in BLOCKS if kind == "powershell" for line in block.splitlines()]


def test_make_commands_are_in_the_makefile():
    named = {name for line in CODE for name in re.findall(r"(?<!data )\bmake ([a-z][\w-]*)", line.partition("#")[0])}
    documented = set(re.findall(r"^([a-z-]+):.* ## ", MAKEFILE, re.MULTILINE))
    assert named <= documented
    assert {"course", "lab", "test", "test-all", "lint", "bench"} <= named


def test_lhcml_commands_exist():
    named = {words for line in CODE for words in re.findall(r"(?<![\w.-])lhcml ([a-z]\w*)", line)}
    helped = subprocess.run([sys.executable, "-m", "lhcml_tutor", "--help"], capture_output=True, text=True, timeout=60)
    assert named and not [name for name in named if not re.search(rf"^\W*{name}\b", helped.stdout, re.MULTILINE)]


def test_windows_lines_do_what_the_makefile_does():
    def settled(line):
        line = line.replace("$(VENV)", "python").replace(".venv\\Scripts\\python", "python").replace("py -3", "python")
        return " ".join(re.sub(r"[\"';]", "", line).split())

    variables = dict(re.findall(r"^([A-Z]+) := (.*)$", MAKEFILE, re.MULTILINE))
    lines = {settled(line) for line in POWERSHELL}
    pip = settled(variables["PIP"].replace("--disable-pip-version-check ", ""))
    assert {f"{pip} torch", f"{pip} -e .[course]", f"{pip} -e .[test]"} <= lines
    assert {"python -m venv .venv", "python -m lhcml_tutor course", "python -m jupyterlab"} <= lines
    settings, _, pytest_command = settled(variables["TEST"]).partition("python -m ")
    assert f"python -m {pytest_command} {variables['NOTEBOOKS']} tests" in lines
    assert "LHCML_SCALE=ci $(TEST) $(NOTEBOOKS) tests" in MAKEFILE
    said = {pair for line in POWERSHELL for pair in re.findall(r'\$env:(\w+) = "(\w+)"', line)}
    assert said == {("LHCML_SCALE", "ci"), *(tuple(word.split("=")) for word in settings.split())}


def test_links_and_pictures_lead_to_files():
    targets = re.findall(r"\]\(([^)\s]+)\)", README)
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    assert local and not [target for target in local if not (ROOT / target).exists()]


def test_pictures_have_a_text():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert len(pictures) > 0 and all(len(text) >= 10 for text, _ in pictures)


def test_address_is_written_in_pyproject_alone_or_equal_to_it():
    own = colab.repository().removeprefix("https://github.com/")
    for name in ("README.md", "CITATION.cff", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        written = re.findall(r"https://(?:github\.com|colab\.research\.google\.com/github)/([\w.-]+/[\w.-]+)", text)
        assert set(written) <= {own}, name
        assert written or name == "CONTRIBUTING.md"
    for path in [*ROOT.glob("lhcml_tutor/**/*.py"), *ROOT.glob("lectures/*.py"), *ROOT.glob("tutorials/*.py")]:
        assert own not in path.read_text(encoding="utf-8"), (
            f"{path} writes the address; take it from colab.repository()"
        )


def test_licence_and_text_licence():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert "Creative Commons Attribution 4.0 International Public License" in (ROOT / "LICENSE-TEXT").read_text()
