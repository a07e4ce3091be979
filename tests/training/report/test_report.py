from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygrad_effnet.training import ConfusionMatrix, EpochRecord, History, Predictions
from tinygrad_effnet.training.report import (
    append_line,
    confused_pairs,
    pairs_sheet,
    peak_memory,
    worst_sheet,
    write_report,
)


def record(epoch: int) -> EpochRecord:
    return EpochRecord(epoch, 1.0, 2.0, 0.5, 0.4, 0.5, 0.4, 1e-3, 10.0, 30.0)


def test_pairs_are_counted_and_sorted(case):
    pairs = confused_pairs(case.predictions.confusion())
    assert [(p.label, p.predicted, p.count) for p in pairs] == [(1, 0, 2), (2, 1, 1)]
    assert confused_pairs(case.predictions.confusion(), 1) == pairs[:1]


def tiles(sheet: Image.Image) -> list[int]:
    """The grey levels of the pictures on a sheet, row by row: large areas of one level that the data set has."""
    pixels = np.asarray(sheet)[:, :, 0]
    found = []
    for y in range(0, pixels.shape[0], 8):
        for x in range(0, pixels.shape[1] - 40, 8):
            part = pixels[y : y + 32, x : x + 40]
            if part.shape == (32, 40) and (part == part[0, 0]).all() and part[0, 0] < 230 and part[0, 0] not in found:
                found.append(int(part[0, 0]))
    return found


def test_the_sheets_show_the_pictures_that_were_mistaken(case):
    pairs = confused_pairs(case.predictions.confusion())
    sheet = pairs_sheet(case.predictions, case.dataset, pairs)
    assert sheet is not None
    assert tiles(sheet) == [75, 100, 200]  # pictures 3 and 4, the surer first, then 8
    worst = worst_sheet(case.predictions, case.dataset, 2)
    assert worst is not None
    assert tiles(worst) == [75, 200]


def test_without_mistakes_there_are_no_sheets(case):
    right = Predictions(np.eye(3)[case.dataset.labels], case.dataset.labels)
    assert worst_sheet(right, case.dataset) is None
    assert pairs_sheet(right, case.dataset, []) is None


def test_the_loss_is_the_mean_cross_entropy(case):
    own = [0.8, 0.8, 0.8, 0.01, 0.4, 0.8, 0.8, 0.8, 0.1]
    assert case.predictions.loss == pytest.approx(-np.log(own).mean())


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_everything_and_fetches_nothing(case, tmp_path: Path):
    history = History(tmp_path / "history.csv")
    history.append(record(1))
    Image.new("RGB", (9, 9)).save(tmp_path / "curves.png")
    path = write_report(
        tmp_path, "b0 on <cars>", case.predictions, case.dataset, history, {"lr": 0.1, "data": "a&b"}, "found <i>9</i>"
    )
    html = path.read_text(encoding="utf-8")
    page = Tags()
    page.feed(html)
    assert not {"script", "b", "i", "link", "iframe"} & set(page.tags)
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "default-src 'none'" in html
    for text in ("b0 on <cars>", "</script><b>van", "found <i>9</i>", "a&b", "Macro F1", "0.6667", "Best epoch"):
        assert text in page.text
    assert page.text.index("Worst mistakes") < page.text.index("Epochs")
    with open(tmp_path / "per_class.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    confusion = case.predictions.confusion()
    assert [float(row["f1"]) for row in rows] == confusion.f1().tolist()
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3] == {
        "picture": "<img src=x>3.jpg",
        "class": "estate",
        "predicted": "</script><b>van",
        "probability": "0.980000",
    }
    assert (tmp_path / "worst_mistakes.png").exists()
    right = Predictions(np.eye(3)[case.dataset.labels], case.dataset.labels)
    write_report(tmp_path, "all right", right, case.dataset)
    assert not (tmp_path / "worst_mistakes.png").exists()


def test_scores_equal_scikit_learns(case):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, predicted = case.predictions.labels, case.predictions.predicted
    confusion: ConfusionMatrix = case.predictions.confusion()
    expected = metrics.precision_recall_fscore_support(labels, predicted)
    for own, other in zip((confusion.precision(), confusion.recall(), confusion.f1()), expected, strict=False):
        np.testing.assert_allclose(own, other, rtol=1e-12)


def test_lines_are_json_and_go_back_with_the_run(tmp_path: Path):
    path = tmp_path / "history.jsonl"
    for epoch, loss in ((1, 0.5), (2, float("nan")), (3, 0.3), (2, 0.4)):
        append_line(path, {"epoch": epoch, "loss": loss, "peak_memory_bytes": peak_memory()})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["epoch"], line["loss"]) for line in lines] == [(1, 0.5), (2, 0.4)]
    assert "NaN" not in path.read_text()
    assert lines[0]["peak_memory_bytes"] > 2**20
    path.write_text("torn li\n" + path.read_text())
    append_line(path, {"epoch": 3, "loss": float("inf")})
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert re.search(r'"loss": null', path.read_text())
