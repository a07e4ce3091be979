"""The pages of the documentation keep up with the code: what they run, command and measure."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_effnet as tg

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def error_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_error_table", DOCS / "make_error_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> dict[str, list[float]]:
    table = re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "accuracy.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: [float(number) for number in re.findall(r"[\d.]+", cells)] for name, cells in table}


def test_the_table_of_errors_has_every_operation_and_backend(error_table: ModuleType) -> None:
    assert sorted(rows()) == error_table.operations(), "run python docs/make_error_table.py"
    head = (DOCS / "accuracy.md").read_text(encoding="utf-8").split("| operation | ")[1].split(" |\n")[0].split(" | ")
    assert set(tg.available_backends()) <= set(head)
    assert all(len(numbers) == 2 * len(head) for numbers in rows().values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["add", "matmul", "softmax", "conv2d", "silu", "batch_norm"])
def test_what_is_measured_is_about_what_the_table_says(name: str, error_table: ModuleType) -> None:
    value, gradient = error_table.measure(name, "numpy", seeds=2)
    noted = rows()[name]
    assert value <= 3 * max(noted[0::2]) + 1
    assert gradient <= 3 * max(noted[1::2]) + 1


def test_the_mutation_score_is_stated_with_date_and_command() -> None:
    text = (DOCS / "trust.md").read_text(encoding="utf-8")
    found = re.search(r"\| (\d{4}-\d\d-\d\d) \| `(.*?)` \| (\d+) \| (\d+) \| ([\d.]+) % \|", text)
    assert found is not None
    _, command, total, killed, score = found.groups()
    assert command == "python tests/mutate_rules.py"
    assert float(score) == pytest.approx(100 * int(killed) / int(total), abs=0.06)
    assert float(score) >= 95


def documents() -> list[Path]:
    """The pages of prose. Those in docs/steps are notebooks, which the build of the documentation runs."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in documents() if blocks(page, "python")], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", "\n".join(blocks(page, "python"))]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert done.returncode == 0, done.stderr


def test_code_in_a_page_is_fenced_and_named() -> None:
    """Else nobody runs it: a block of code that is only indented, or one whose language has another name."""
    for page in documents():
        text = page.read_text(encoding="utf-8")
        assert not re.search(
            r"^    (import|from|with|print\()", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M
        )
        assert not re.search(r"^```(py|python3|pycon|ipython)\b", text, re.MULTILINE), page


def commands() -> list[tuple[str, str]]:
    found = []
    for page in documents():
        for line in "\n".join(blocks(page, "sh")).splitlines():
            command = line.partition("#")[0].rpartition("&&")[2].strip()
            match = re.search(r"python(?: -m tinygrad_effnet (\w+)|\S* (examples/\w+\.py))(.*)", command)
            if match is not None:
                found.append((match.group(1) or match.group(2), match.group(3)))
    return sorted(set(found))


@pytest.mark.parametrize("program", sorted({program for program, _ in commands()}))
def test_commands_in_the_pages_have_flags_that_exist(program: str) -> None:
    start = [program] if program.endswith(".py") else ["-m", "tinygrad_effnet", program]
    done = subprocess.run([sys.executable, *start, "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    for other, arguments in commands():
        for flag in re.findall(r"(?<!\S)--?[a-z][\w-]*", arguments if other == program else ""):
            assert re.search(rf"(?<![\w-]){flag}(?![\w-])", done.stdout), f"{program} has no {flag}"
