"""A page within a notebook: what Jupyter is given, and what a browser makes of it."""

from __future__ import annotations

import html
import re

import pytest

import tinygrad_effnet as tg
from tinygrad_effnet.stepper import record, sources


@pytest.fixture(scope="module")
def run():
    a = tg.Tensor(3.0, requires_grad=True)
    b = tg.Tensor(4.0, requires_grad=True)
    with record() as recorded:
        (a * b * 5.0).backward()
    return recorded


def test_the_frame_holds_the_whole_page_and_no_more_rights_than_scripts(run, tmp_path) -> None:
    made = run.embed(height=480, title='A <b> & "c"', start=-1)._repr_html_()
    pattern = r'<iframe class="tinygrad-stepper" sandbox="allow-scripts" (.*) srcdoc="([^"]*)"></iframe>'
    frame = re.fullmatch(pattern, made)
    assert frame is not None
    assert 'title="A &lt;b&gt; &amp; &quot;c&quot;"' in frame.group(1) and "height: 480px" in frame.group(1)
    text = html.unescape(frame.group(2))
    assert text.startswith("<!DOCTYPE html>") and f'"start":{len(run) - 1}' in text
    alone = run.page(tmp_path / "page.html", 'A <b> & "c"').read_text("utf-8")
    assert text.replace(f'"start":{len(run) - 1}', '"start":0') == alone


def test_with_a_path_the_page_is_a_file_with_a_link(run, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = run.embed(path="pages/a product.html", start=2)
    assert (tmp_path / "pages/a product.html").read_text("utf-8") == shown.text
    made = shown._repr_html_()
    assert made.count('="pages/a%20product.html#t=2"') == 2 and "srcdoc" not in made


def test_what_cannot_be_shown_is_refused(run, tmp_path) -> None:
    with pytest.raises(IndexError, match="start is 99; this run has the steps 0 to 5"):
        run.embed(start=99)
    with pytest.raises(ValueError, match=r"embed\(height\): 0"):
        run.embed(height=0)
    with pytest.raises(ValueError, match=r"embed\(most_bytes\).*allow more than 1,000"):
        run.embed(most_bytes=1000)
    with record() as nothing:
        pass
    with pytest.raises(ValueError, match="nothing was recorded"):
        nothing.embed()


def test_a_cell_of_a_notebook_has_no_name_that_a_reader_knows() -> None:
    assert sources.shown("/tmp/ipykernel_4711/123456.py") == "notebook cell"
