"""Files written whole or not at all, and folders that are never written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinygrad_effnet.training.checkpoint import save_checkpoint
from tinygrad_effnet.training.files import atomic_write, new_run_folder


def test_atomic_write_leaves_nothing_behind_when_the_writer_fails(tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    atomic_write(target, lambda file: file.write(b"old"))

    def half(file: object) -> None:
        file.write(b"ne")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(target, half)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "missing" / "file.bin", half)


def test_data_reach_the_disk_before_the_name_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, real=real: (events.append(name), real(*given))[1])
    atomic_write(tmp_path / "file.bin", lambda file: file.write(b"new"))
    assert events == ["fsync", "replace", *(["fsync"] if os.name == "posix" else [])]


def test_run_folders_are_numbered_above_the_highest(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "runs"
    assert [new_run_folder(root, stem="b0").name for _ in range(3)] == ["b0-1", "b0-2", "b0-3"]
    (root / "b0-2").rmdir()
    (root / "b0-notes").mkdir()
    (root / "b0-41.bak").mkdir()
    assert new_run_folder(root, stem="b0") == root / "b0-4"
    assert new_run_folder(root).name == "run-1"
    assert new_run_folder(root, "mine").is_dir()


def test_an_existing_run_is_never_overwritten(tmp_path: Path) -> None:
    new_run_folder(tmp_path, "mine")
    with pytest.raises(FileExistsError, match=r"mine already exists.*--resume .*another name"):
        new_run_folder(tmp_path, "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"root: expected a folder"):
        new_run_folder(tmp_path / "file")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "../up", "x:y", "end.", " x", "nul\0", "x" * 101, "a\nb"]
)
def test_run_and_checkpoint_names_cannot_leave_their_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"name: expected a plain file name"):
        new_run_folder(tmp_path, name)
    with pytest.raises(ValueError, match=r"stem: expected a plain file name"):
        new_run_folder(tmp_path, stem=name)
    with pytest.raises(ValueError, match=r"name: expected a plain file name"):
        save_checkpoint(tmp_path, name, {}, {})
    assert list(tmp_path.iterdir()) == []
