"""The built pages to step through, in a browser: nothing fails, nothing is fetched, and every stepper steps.

``TINYGRAD_EFFNET_SITE`` names the folder of the built site; ``.ci/run`` builds it and sets that.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SITE = os.environ.get("TINYGRAD_EFFNET_SITE")
if not SITE:
    pytest.skip("the site's tests need a built site: .ci/run builds one", allow_module_level=True)
browsers = pytest.importorskip("playwright.sync_api", reason="the site's tests drive a browser: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the site's tests need Chromium: apt-get install chromium")
PAGES = sorted(Path(SITE).glob("steps/[0-9]*.html"))


@pytest.fixture(scope="module")
def browser():
    with browsers.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_there_are_pages() -> None:
    assert PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 390)])
def test_a_page_and_its_steppers(browser, path: Path, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page, messages, requests = context.new_page(), [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.resolve().as_uri())
    frames = page.query_selector_all("iframe.tinygrad-stepper")
    assert frames, "a page to step through has a stepper"
    for frame in frames:
        frame.scroll_into_view_if_needed()
        inside = frame.content_frame()
        inside.locator("#where:not(:empty)").wait_for()  # drawn; the pages' policy forbids `wait_for_function`
        # of a long run some 200 steps: test_browser.py goes through every one of such a page
        inside.evaluate("for (let k = 0, by = Math.ceil(STEPS.length / 200); k < STEPS.length; k += by) go(k)")
        inside.click("#last")
        assert inside.evaluate("current === STEPS.length - 1")
        inside.evaluate("for (let k = current, by = Math.ceil(STEPS.length / 200); k > 0; k -= by) go(k)")
        inside.click("#first")
        assert inside.evaluate("current") == 0
        dark = inside.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")  # the frame follows the page around it
        assert inside.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out on a phone
    assert messages == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    context.close()
