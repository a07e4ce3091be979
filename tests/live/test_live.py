"""The engine in the browser: built, run under Node on Pyodide, and used in Chromium."""

from __future__ import annotations

import functools
import http.server
import json
import runpy
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygrad_effnet as tg

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("node") and shutil.which("npm")),
        reason="the engine in the browser is fetched by npm and tried in Node: apt-get install nodejs npm",
    ),
]
PROGRAM = """
import numpy as np
import tinygrad_effnet as tg
from tinygrad_effnet import nn

x = tg.Tensor(np.linspace(-1, 1, 2 * 3 * 5 * 5).reshape(2, 3, 5, 5), requires_grad=True)
w = tg.Tensor(np.linspace(-1, 1, 4 * 3 * 3 * 3).reshape(4, 3, 3, 3))
seed = np.cos(np.arange(2 * 4 * 3 * 3)).reshape(2, 4, 3, 3)
tg.silu(tg.conv2d(x, w, stride=2, padding=1)).backward(seed)
print(x.grad.numpy().ravel().tolist())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    subprocess.run([sys.executable, ROOT / "docs" / "make_live.py", folder], check=True)
    return folder


def run_in_node(site, tmp_path, program):
    (tmp_path / "program.py").write_text(program)
    command = ["node", Path(__file__).with_name("gradient.mjs"), site, tmp_path / "program.py"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def test_a_gradient_under_node_is_the_one_here(site, tmp_path, capsys) -> None:
    found = run_in_node(site, tmp_path, PROGRAM)
    with tg.use_backend("numpy"):
        runpy.run_path(str(tmp_path / "program.py"))
    here = json.loads(capsys.readouterr().out)
    assert not found["failed"] and found["bytes"] > 10_000
    np.testing.assert_allclose(json.loads(found["printed"][0]), here, rtol=1e-12)
    assert not {"numba", "scipy", "PIL", "matplotlib", "threadpoolctl", "safetensors"} & set(found["modules"])


def test_an_error_is_told_with_the_program_s_own_line_alone(site, tmp_path) -> None:
    found = run_in_node(site, tmp_path, "import tinygrad_effnet as tg\nx = tg.Tensor([1.0]) * 2.0\ntg.matmul(x, 3)\n")
    said = "\n".join(found["printed"])
    assert found["failed"] and found["bytes"] > 10_000  # what was recorded until then is shown
    assert 'program.py", line 3' in said and "tg.matmul(x, 3)" in said and said.count("File ") == 1


@pytest.fixture
def address(site):
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(address):
    """The page in Chromium, loaded; at the end, fail on any message, any error, any request to another host."""
    browsers = pytest.importorskip("playwright.sync_api", reason="drives a browser: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("the page needs Chromium: apt-get install chromium")
    messages, requests = [], []
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.on("console", lambda message: messages.append(message.text))
        opened.on("pageerror", lambda error: messages.append(str(error)))
        opened.on("request", lambda request: requests.append(request.url))
        opened.goto(address + "/index.html")
        opened.wait_for_selector("#run:enabled", timeout=120_000)
        yield opened
        browser.close()
    assert messages == []
    assert [url for url in requests if not url.startswith((address, "data:", "blob:", "about:"))] == []


def run(page) -> str:
    page.click("#run")
    page.wait_for_selector("#run:enabled", timeout=120_000)
    return page.text_content("#printed")


def test_the_reader_changes_runs_steps_and_stops(site, page) -> None:
    browsers = pytest.importorskip("playwright.sync_api")
    assert "dy/dx = 2.0" in run(page)
    page.fill("#code", page.input_value("#code").replace("Tensor(2.0", "Tensor(-5.0"))
    page.focus("#code")
    page.keyboard.press("Control+Enter")
    page.locator("#printed", has_text="dy/dx = -5.0").wait_for(timeout=60_000)
    page.wait_for_selector("#keep:visible")

    steps = page.frame_locator("#steps")
    first = steps.locator("#where").text_content()
    steps.locator("#next").click()
    assert steps.locator("#where").text_content() != first
    assert "-5" in steps.locator("#step").text_content()

    for name in page.eval_on_selector_all("#programs option", "options => options.map((o) => o.value)"):
        page.select_option("#programs", name)
        browsers.expect(page.locator("#code")).to_have_value((site / "programs" / name).read_text(encoding="utf-8"))
        run(page)
        assert "Done" in page.text_content("#state"), name

    page.fill("#code", "while True:\n    pass\n")
    page.click("#run")
    page.click("#stop")
    page.wait_for_selector("#run:enabled", timeout=120_000)
    page.fill("#code", "1 / 0")
    assert "ZeroDivisionError" in run(page) and "error" in page.text_content("#state")
