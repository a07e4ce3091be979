"""The measured pages of the documentation keep up with the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_effnet as tg

DOCS = Path(__file__).parents[1] / "docs"


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
