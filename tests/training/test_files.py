"""Folders of runs are never written over, and names cannot leave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_effnet.training.checkpoint import save_checkpoint
from tinygrad_effnet.training.files import new_run_folder


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
