from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_effnet.training.history import COLUMNS, EpochRecord, History, HistoryError


def record(epoch: int, **changes: float) -> EpochRecord:
    values: dict[str, float] = {
        "train_loss": 2.0 / epoch,
        "val_loss": 2.5 / epoch,
        "train_f1": 1 - 1 / (epoch + 1),
        "val_f1": 1 - 1 / (epoch + 0.5),
        "train_accuracy": 0.5,
        "val_accuracy": 0.25,
        "learning_rate": 1e-3 / epoch,
        "seconds": 12.5,
        "images_per_second": 31.25,
    }
    return EpochRecord(epoch=epoch, **(values | changes))


def written(path: Path, epochs: int) -> History:
    history = History(path)
    for epoch in range(1, epochs + 1):
        history.append(record(epoch))
    return history


share = st.floats(0, 1) | st.just(math.nan)
positive = st.floats(0) | st.just(math.nan)
loss = st.floats()


@settings(deadline=None)
@given(st.lists(st.tuples(loss, loss, share, share, share, share, positive, positive, positive), max_size=6))
def test_every_float_reads_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:
    history = History(tmp_path_factory.mktemp("run") / "history.csv")
    for epoch, row in enumerate(rows, start=1):
        history.append(EpochRecord(epoch, *row))
    if not rows:
        assert not history.path.exists()
        return
    loaded = History.load(history.path)
    for name in COLUMNS:
        np.testing.assert_array_equal(loaded.column(name), history.column(name))


def test_the_file_is_plain_csv_and_whole_after_every_epoch(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv")
    for epoch in (1, 2, 3):
        history.append(record(epoch))
        with open(history.path, newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == [str(n) for n in range(1, epoch + 1)]
        assert float(rows[-1]["val_loss"]) == 2.5 / epoch
    assert list(rows[0]) == [
        "epoch", "train_loss", "val_loss", "train_f1", "val_f1", "train_accuracy", "val_accuracy",
        "learning_rate", "seconds", "images_per_second",
    ]  # fmt: skip
    assert [entry.name for entry in tmp_path.iterdir()] == ["history.csv"]


def test_numpy_scalars_are_stored_as_plain_numbers(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv")
    history.append(record(1, train_loss=np.float32(0.5), seconds=3))
    assert "np." not in history.path.read_text()
    assert History.load(history.path)[0] == history[0]
    assert type(history[0].train_loss) is float


def test_a_new_history_never_overwrites(tmp_path: Path) -> None:
    written(tmp_path / "history.csv", 2)
    with pytest.raises(FileExistsError, match=r"path: .*already exists.*History\.resume"):
        History(tmp_path / "history.csv")


def test_resume_drops_later_epochs_in_memory_and_on_disk(tmp_path: Path) -> None:
    written(tmp_path / "history.csv", 5)
    history = History.resume(tmp_path / "history.csv", 3)
    assert history.column("epoch") == [1, 2, 3]
    assert History.load(history.path).column("epoch") == [1, 2, 3]
    history.append(record(4, val_loss=9.0))
    assert History.load(history.path).column("val_loss") == [*(2.5 / n for n in (1, 2, 3)), 9.0]


def test_resume_from_before_the_first_epoch_and_past_the_last(tmp_path: Path) -> None:
    written(tmp_path / "history.csv", 2)
    with pytest.raises(HistoryError, match=r"ends at epoch 2, but the run resumes after epoch 4"):
        History.resume(tmp_path / "history.csv", 4)
    assert len(History.resume(tmp_path / "history.csv", 0)) == 0
    assert len(History.load(tmp_path / "history.csv")) == 0


def test_epochs_follow_one_another(tmp_path: Path) -> None:
    history = written(tmp_path / "history.csv", 2)
    for wrong in (1, 2, 4):
        with pytest.raises(HistoryError, match=rf"epoch: expected 3.*got {wrong}"):
            history.append(record(wrong))
    assert History.load(history.path).column("epoch") == [1, 2]


def test_best_epoch_takes_the_right_direction_the_earliest_and_no_nan(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv")
    for epoch, (f1, loss_) in enumerate([(math.nan, 3.0), (0.4, 1.0), (0.7, 2.0), (0.7, math.nan)], start=1):
        history.append(record(epoch, val_f1=f1, val_loss=loss_))
    best_f1, best_loss = history.best("val_f1"), history.best("val_loss")
    assert best_f1 is not None and best_f1.epoch == 3
    assert best_loss is not None and best_loss.epoch == 2
    with pytest.raises(KeyError, match="no column 'f1'"):
        history.best("f1")


def test_best_of_nothing_is_none(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv")
    assert history.best() is None
    history.append(record(1, val_f1=math.nan))
    assert history.best("val_f1") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_f1": 93.0}, r"val_f1: expected a share in 0\.\.1, got 93\.0.*per cent"),
        ({"train_accuracy": -0.1}, r"train_accuracy: expected a share"),
        ({"seconds": -1.0}, r"seconds: expected 0 or more"),
        ({"train_loss": "0.5"}, r"train_loss: expected a number, got '0\.5'"),
        ({"train_loss": None}, r"train_loss: expected a number, got None"),
        ({"epoch": 1.5}, r"epoch: expected an integer, got 1\.5"),
        ({"epoch": 0}, r"epoch: expected 1 or more"),
    ],
)
def test_bad_values_are_named(change: dict, message: str) -> None:
    values = {name: getattr(record(1), name) for name in COLUMNS}
    with pytest.raises(HistoryError, match=message):
        EpochRecord(**(values | change))


GOOD_ROW = "1,1.0,1.0,0.5,0.5,0.5,0.5,0.001,2.0,3.0\n"
HEADER = ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"line 1: expected the header epoch,.*empty file"),
        (b"a,b\n1,2\n", r"line 1: expected the header .*found a,b"),
        ((HEADER + GOOD_ROW + "2,1.0,1.0\n").encode(), r"line 3: expected 10 values, found 3"),
        ((HEADER + GOOD_ROW.replace("0.001", "fast")).encode(), r"line 2, learning_rate: .*found 'fast'"),
        ((HEADER + GOOD_ROW.replace("1,", "1.5,", 1)).encode(), r"line 2, epoch: expected a number, found '1\.5'"),
        ((HEADER + GOOD_ROW.replace("0.5", "1.5", 1)).encode(), r"line 2, train_f1: expected a share"),
        ((HEADER + GOOD_ROW + GOOD_ROW).encode(), r"epoch: expected 2"),
        (b"\xff\xfe\x00\x01", r"not a CSV text file"),
        ((HEADER + '1,"1.0\n').encode(), r"not a CSV text file"),
    ],
)
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=message) as caught:
        History.load(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_damage_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, position: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "history.csv"
    sound = (HEADER + GOOD_ROW).encode()
    path.write_bytes(sound[:position] + noise + sound[position:])
    try:
        assert len(History.load(path)) <= 1 + noise.count(b"\n") + noise.count(b"\r")
    except HistoryError as error:
        assert str(path) in str(error)


def test_files_resaved_by_a_spreadsheet_still_load(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + GOOD_ROW).replace("\n", "\r\n").encode())
    assert History.load(path)[0].learning_rate == 0.001


def test_missing_file_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no history at .*nowhere"):
        History.load(tmp_path / "nowhere" / "history.csv")


def test_a_failed_write_keeps_the_old_file_and_drops_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = written(tmp_path / "history.csv", 2)
    before = history.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        history.append(record(3))
    monkeypatch.undo()
    assert len(history) == 2
    assert history.path.read_bytes() == before
    history.append(record(3))
    assert History.load(history.path).column("epoch") == [1, 2, 3]
