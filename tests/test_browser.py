"""A lecture's slider in a real JupyterLab in a real Chromium: one arrow key, and text and picture change."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
LECTURE = "01_fitting.py"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run --host-resolver-rules=MAP*~NOTFOUND,EXCLUDE127.0.0.1"
)
BROKEN = """
broken = lt.explorers.Explorer(
    "Broken", {"k": lt.explorers.Slider(0, 3, 1, 0)}, lambda k: 1 // (1 - k), lambda ax, y: ax.plot([0, y]))
broken.show()
"""
PICTURE = """async (image) => {
    const bytes = new Uint8Array(await (await fetch(image.src)).arrayBuffer());
    return [image.naturalWidth, bytes.length, bytes.reduce((sum, byte) => (31 * sum + byte) % 1000003, 7)].join(" ");
}"""


def wait_for(condition, what, pause=time.sleep, seconds=120):
    """Wait until a condition holds; with a browser, `pause` lets it go on working."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"after {seconds} s still no {what}")
        pause(0.1)


def notebook():
    """Return the lecture's import cell, its first explorer with its static figure, and an explorer that breaks."""
    lecture = jupytext.read(ROOT / "lectures" / LECTURE)
    code = [cell for cell in lecture.cells if cell.cell_type == "code"]
    start = next(cell for cell in code if "import lhcml_tutor" in cell.source)
    here = next(i for i, cell in enumerate(code) if "explorer" in cell.metadata.get("tags", ()))
    sources = [start.source, code[here - 1].source, code[here].source, BROKEN]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": dict(lecture.metadata.kernelspec)})


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start JupyterLab with a home of its own; yield its address; stop it in any case."""
    home = tmp_path_factory.mktemp("home")
    nbformat.write(notebook(), home / "slider.ipynb")
    settings = home / ".jupyter" / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "OMP_NUM_THREADS", "PYTHONPATH") if key in os.environ}
    options = (
        f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --ServerApp.root_dir={home}".split()
    )
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    log = (home / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, "--IdentityProvider.token="],
        cwd=home, env={**kept, "HOME": str(home), "LHCML_SCALE": "ci"}, stdout=log, stderr=log,
    )  # fmt: skip
    try:

        def answers():
            assert server.poll() is None, (home / "server.log").read_text()[-2000:]
            try:
                return urllib.request.urlopen(f"{url}/api/status", timeout=2).status == 200
            except OSError:
                return False

        wait_for(answers, "answer from JupyterLab")
        yield url
    finally:
        for session in json.loads(_ask(f"{url}/api/sessions") or "[]"):  # a kernel outlives a killed server
            _ask(f"{url}/api/sessions/{session['id']}", method="DELETE")
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def kernel_state(url):
    """Return the state of the kernel that the page is connected to, or None."""
    kernels = [session["kernel"] for session in json.loads(_ask(f"{url}/api/sessions") or "[]")]
    return next((kernel["execution_state"] for kernel in kernels if kernel["connections"]), None)


def _ask(url, method="GET"):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5).read()
    except OSError:
        return None


@pytest.fixture
def page(lab, tmp_path):
    """Open the notebook in a fresh Chromium that can reach this machine alone; fail on errors in its console."""
    from playwright.sync_api import sync_playwright

    complaints, outside = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS.split(" ", 10))
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            page.set_default_timeout(120_000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)

            def refuse(route):
                outside.append(route.request.url)
                route.abort()

            page.route(re.compile(rf"^(?!{re.escape(lab)}|blob:|data:)"), refuse)
            page.goto(f"{lab}/lab/tree/slider.ipynb")
            yield page
            if folder := os.environ.get("LHCML_SCREENSHOTS"):
                page.screenshot(path=Path(folder) / "slider.png")
        finally:
            browser.close()
    assert (outside, complaints) == ([], []), "other hosts that the notebook asked for, errors in the console"


@pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="no chromium: apt-get install chromium, or brew, choco"
)
def test_an_arrow_key_changes_text_and_picture(lab, page):
    assert CHROMIUM, "CI needs chromium: apt-get install chromium"

    def until(condition, what):
        wait_for(condition, what, pause=lambda seconds: page.wait_for_timeout(1000 * seconds))

    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    until(lambda: kernel_state(lab) == "idle", "kernel that is connected")  # or JupyterLab asks which one to start
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    explorer, broken = (page.locator(".lhcml-explorer").nth(i) for i in (0, 1))
    broken.locator("img").wait_for()

    def seen():
        line = explorer.locator(".widget-html-content").nth(1).inner_text()
        return line, explorer.locator("img").evaluate(PICTURE)

    before = seen()
    assert before[0] and int(before[1].split()[0]) > 600
    slider = explorer.get_by_role("slider").first
    assert slider.get_attribute("tabindex") == "0"  # the keyboard reaches it
    slider.focus()
    slider.press("ArrowRight")
    until(lambda: all(new != old for new, old in zip(seen(), before, strict=True)), "other text and picture")
    until(lambda: "computing" not in seen()[0], "end of the computation")
    after = seen()
    slider.press("ArrowLeft")
    until(lambda: seen() == before, "the same text and picture as in the beginning")
    assert after != before

    slider = broken.get_by_role("slider").first
    slider.focus()
    slider.press("ArrowRight")
    line = broken.locator(".widget-html-content").nth(1)
    until(lambda: "ZeroDivisionError" in line.inner_text(), "words about the error in the callback")
