from __future__ import annotations

import io

import pytest

from tinygrad_effnet.training.history import EpochRecord
from tinygrad_effnet.training.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


RECORD = EpochRecord(3, 1.5, 1.25, 0.5, 0.625, 0.5, 0.75, 1e-3, 75.0, 42.0)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (200, "3m20s"), (3599.7, "1h00m"), (7500, "2h05m")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_plain_lines_where_there_is_no_terminal():
    stream = io.StringIO()
    progress = Progress(10, stream, interval=0.0)
    progress.start(3, 4, 1)
    progress.batch(2, 16, 1.2345)
    progress.finish()
    progress.epoch(RECORD, best=True)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("epoch 3/10  batch 2/4  loss 1.234  ")
    assert lines[0].endswith("left in all")
    assert lines[1] == (
        "epoch  3/10  train loss 1.500 F1 0.500  validation loss 1.250 F1 0.625 accuracy 0.750  42 images/s  1m15s"
        "  best so far"
    )
    assert "\r" not in stream.getvalue()


def test_plain_lines_keep_their_distance():
    stream = io.StringIO()
    progress = Progress(1, stream, interval=3600)
    progress.start(1, 100, 0)
    for done in range(1, 101):
        progress.batch(done, 1, 0.5)
    assert stream.getvalue() == ""


def test_what_is_left_counts_how_much_later_epochs_cost(monkeypatch):
    clock = iter([0.0, 0.0, 10.0])
    monkeypatch.setattr("tinygrad_effnet.training.progress.time.monotonic", lambda: next(clock, 10.0))
    stream = io.StringIO()
    progress = Progress(3, stream, interval=0.0)
    progress.start(2, 10, 0, later=4.0)
    clock = iter([10.0])
    progress.batch(5, 8, 0.5)  # half of this epoch in 10 s, so 10 s for its rest and 80 s for the dear one
    assert "1m30s left in all" in stream.getvalue()


def test_a_bar_on_a_terminal():
    stream = Terminal()
    progress = Progress(2, stream)
    progress.start(1, 3, 0)
    for done in (1, 2, 3):
        progress.batch(done, 8, 0.75)
    progress.say("a word in between")
    progress.finish()
    text = stream.getvalue()
    assert "epoch 1/2" in text
    assert "a word in between" in text
    assert "\r" in text


def test_time_left_counts_the_coming_epochs():
    progress = Progress(3, io.StringIO())
    progress.start(1, 10, 0)
    # 5 of 30 batches done in 10 s: 25 more at 2 s each
    assert progress._left(5, progress._began + 10) == "50s"
