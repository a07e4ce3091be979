"""The command that records a script."""

from __future__ import annotations

import sys

import pytest

from tinygrad_effnet.commands import main

SCRIPT = """
import sys
import tinygrad_effnet as tg
from beside import factor
x = tg.Tensor([float(word) for word in sys.argv[1:]], requires_grad=True)
(x * factor).sum().backward()
{end}
"""


@pytest.fixture
def script(tmp_path):
    def make(end=""):
        (tmp_path / "beside.py").write_text("factor = 3.0\n")
        path = tmp_path / "script.py"
        path.write_text(SCRIPT.format(end=end))
        return path

    yield make
    sys.modules.pop("beside", None)


def test_a_script_with_arguments_becomes_a_page(script, tmp_path, capsys) -> None:
    argv = list(sys.argv)
    assert main(["trace", "-o", str(tmp_path / "out" / "page.html"), str(script()), "--", "1.5", "2.5"]) == 0
    text = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert "script.py" in text and "factor" in text and "page.html" in capsys.readouterr().err
    assert sys.argv == argv and [p.name for p in (tmp_path / "out").iterdir()] == ["page.html"]


def test_a_script_that_fails_is_shown_up_to_there(script, tmp_path) -> None:
    with pytest.raises(ZeroDivisionError):
        main(["trace", "-o", str(tmp_path / "page.html"), str(script("1 / 0")), "--", "1.5"])
    assert (tmp_path / "page.html").exists()


def test_what_is_wrong_is_said(tmp_path, capsys) -> None:
    assert main(["trace", str(tmp_path / "none.py")]) == 2
    assert "there is no script" in capsys.readouterr().err
    (tmp_path / "empty.py").write_text("pass\n")
    assert main(["trace", str(tmp_path / "empty.py"), "-o", str(tmp_path / "p.html")]) == 1
    assert "used no operation" in capsys.readouterr().err
