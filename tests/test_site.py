"""What the build of the documentation checks by itself does find what it looks for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXTENSIONS = Path(__file__).parents[1] / "docs" / "_ext"


def extension(name: str) -> ModuleType:
    pytest.importorskip("sphinx", reason='the documentation is built with Sphinx: pip install -e ".[docs]"')
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page, found",
    [
        ('<script src="https://cdn.example/x.js"></script>', 1),
        ('<link rel="stylesheet" href="//fonts.example/css">', 1),
        ('<img src="HTTP://example.org/badge.svg" alt="">', 1),
        ('<iframe src="https://example.org"></iframe>', 1),
        ("<style>@import 'https://fonts.example/a.css'; b { background: url(//x.example/y.png) }</style>", 2),
        ('<p style="background: url(https://x.example/y.png)">', 1),
        ('<a href="https://example.org">a link</a><link rel="canonical" href="https://example.org">', 0),
        ('<script src="../_static/a.js"></script><img src="data:,"><p>src="https://x.example"</p>', 0),
    ],
)
def test_what_a_page_would_fetch_from_another_host_is_found(page: str, found: int) -> None:
    assert len(extension("no_third_party").fetched_from_elsewhere(page)) == found


def test_style_sheets_and_pages_of_a_site_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.css").write_text("@font-face { src: url('https://fonts.example/f.woff2') }", encoding="utf-8")
    (tmp_path / "c.html").write_text('<img src="https://x.example/y.png">', encoding="utf-8")
    (tmp_path / "d.html").write_text('<img src="y.png">', encoding="utf-8")
    found = extension("no_third_party").in_site(tmp_path)
    assert [line.partition(":")[0] for line in found] == ["a/b.css", "c.html"]


def test_a_public_name_that_the_reference_leaves_out_is_found() -> None:
    checks = extension("public_names")
    names = checks.public_names()
    assert {"tinygrad_effnet.silu", "tinygrad_effnet.nn.MBConv", "tinygrad_effnet.training.train"} <= set(names)
    assert "tinygrad_effnet.ops.np" not in names and "tinygrad_effnet.nn.init.is_array" not in names
    defined = {f"{thing.__module__}.{thing.__qualname__}" for thing in names.values()}
    assert checks.missing(defined) == []
    assert checks.missing(defined - {"tinygrad_effnet.nn.mbconv.MBConv"}) == ["tinygrad_effnet.nn.MBConv"]
