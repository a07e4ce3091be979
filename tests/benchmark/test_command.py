"""The benchmark's command, run as a user does: tables, JSON, errors."""

from __future__ import annotations

import json

import pytest

from tinygrad_effnet.benchmark import document, main, tables
from tinygrad_effnet.benchmark.rounds import Result

TINY = ["--size", "32", "--batch", "2", "--rounds", "1", "--only", "numpy", "--threads", "1"]


def test_a_run_prints_tables_and_writes_json(tmp_path, capsys):
    file = tmp_path / "found.json"
    assert main([*TINY, "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "EfficientNet-B0, 32 px, batch 2, float32, 1 threads" in printed
    assert "| training |" in printed
    assert "| inference |" in printed
    found = json.loads(file.read_text())
    assert found["format"] == document.FORMAT
    assert set(found["machine"]) == {"processor", "cores", "memory_gb", "system", "python", "packages", "time"}
    assert found["settings"] == {"model": "b0", "size": 32, "batch": 2, "threads": 1, "classes": 196}
    assert [(r["name"], r["task"]) for r in found["results"]] == [("numpy", "training"), ("numpy", "inference")]
    for result in found["results"]:
        assert set(result) == {
            *("name", "task", "images_per_second", "median_images_per_second", "first_over_this"),
            *("first_step_seconds", "memory_bytes", "problem"),
        }
        assert result["median_images_per_second"] == result["images_per_second"][0] > 0
        assert result["first_over_this"] == [1]
        assert set(result["memory_bytes"]) == {"before", "peak", "peak_with_start", "page_faults_per_step"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "b9"], "--model b9: expected one of b0, "),
        (["--rounds", "0"], "--rounds 0: expected at least 1"),
        (["--only", "keras"], "there is no such contestant"),
        (["--json", "nowhere/at/all.json"], "there is no folder nowhere/at"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys):
    assert main([*TINY, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_tables_show_medians_spreads_and_what_did_not_run():
    ours = Result("ours", "training", {0: 10.0, 1: 30.0, 2: 20.0}, 1.5, {"peak": 1e9, "page_faults_per_step": 4})
    other = Result("other", "training", {0: 5.0, 1: 10.0, 2: 10.0}, 2.5, {"peak": 2e9, "page_faults_per_step": 1e6})
    text = tables.of_results([ours, other, Result("absent", "training", problem="not installed: torch")])
    head, rule, first, second, last = text.splitlines()
    assert [cell.strip() for cell in first.strip("|").split("|")] == [
        *("ours", "20.0 (10.0–30.0)", "1", "1,000", "1.00", "4", "1.5"),
    ]
    assert [cell.strip() for cell in second.strip("|").split("|")] == [
        *("other", "10.0 (5.0–10.0)", "2.00 (2.00–3.00)", "2,000", "0.50", "1,000,000", "2.5"),
    ]
    assert last == "absent did not run: not installed: torch"
    assert len(head) == len(rule) == len(first) == len(second)
