"""The kernels' folder on disk: private, keyed by its sources, and enough for a second process to compile nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("numba")

import numba

from tinygrad_effnet.backends.numba import cache, warm

ROOT = Path(cache.__file__).parents[3]
POSIX = pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes and owners are POSIX's")

COMPILE_ONE = """
import numpy as np
from tinygrad_effnet.backends.numba import Numba, activation
Numba().sigmoid(np.ones(3, np.float32))
stats = activation.small_sigmoid_kernel.compiled.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a fresh process with this package on its path."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder that the user names in the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folder))
    return folder


def test_second_process_compiles_nothing_and_says_nothing(chosen: Path) -> None:
    first = python(COMPILE_ONE, TINYGRAD_EFFNET_COMPILE_ALONE="1")
    second = python(COMPILE_ONE)
    assert (first.stdout.split(), second.stdout.split()) == (["0", "1"], ["1", "0"]), first.stderr + second.stderr
    assert first.stderr == f"tinygrad_effnet: compiling kernels for this machine, once: 1 of {len(warm.TRAINING)}\n"
    assert second.stderr == ""
    assert [path.name for path in chosen.iterdir()] == [f"kernels-{cache.fingerprint()}"]


def test_import_of_numba_is_left_to_the_backend() -> None:
    code = "import sys, tinygrad_effnet.backends; print('numba' in sys.modules)"
    assert python(code).stdout.strip() == "False"


@POSIX
def test_folder_is_made_private(chosen: Path) -> None:
    folder = cache.kernel_cache()
    assert folder is not None
    assert folder.parent == chosen
    assert folder.stat().st_mode & 0o777 == chosen.stat().st_mode & 0o777 == 0o700


def test_folders_unused_for_a_month_are_removed_and_no_others(chosen: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    names = {"stale": "kernels-0123456789abcdef", "recent": "kernels-fedcba9876543210", "foreign": "kernels-mine"}
    folders = {key: chosen / name for key, name in names.items()}
    link = chosen / "kernels-aaaaaaaaaaaaaaaa"
    month_ago = time.time() - cache.STALE - 60
    for folder in (*folders.values(), elsewhere):
        folder.mkdir(parents=True)
        (folder / "kernel.nbi").write_bytes(b"1")
    chosen.chmod(0o700)
    link.symlink_to(elsewhere)
    own = chosen / f"kernels-{cache.fingerprint()}"
    own.mkdir(mode=0o700)
    for folder in (folders["stale"], folders["foreign"], elsewhere, own):
        os.utime(folder, (month_ago, month_ago))
    os.utime(folders["recent"], (month_ago + 120, month_ago + 120))
    assert cache.kernel_cache() == own
    assert not folders["stale"].exists()
    assert all((folder / "kernel.nbi").exists() for folder in (folders["recent"], folders["foreign"], elsewhere))
    assert time.time() - own.stat().st_mtime < 60


@POSIX
def test_folder_that_others_may_write_to_is_not_used(chosen: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen.mkdir()
    chosen.chmod(0o777)
    with caplog.at_level(logging.WARNING, "tinygrad_effnet"):
        assert cache.kernel_cache() is None
    assert f"chmod 700 '{chosen}'" in caplog.text
    assert list(chosen.iterdir()) == []


@POSIX
def test_folder_of_somebody_else_is_not_used(chosen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: chosen.stat().st_uid + 1)
    with pytest.raises(PermissionError, match="belongs to user"):
        cache.private_folder(chosen)
    assert cache.kernel_cache() is None


def test_a_file_in_the_way_costs_the_cache_only(chosen: Path) -> None:
    chosen.write_text("not a folder")
    assert cache.kernel_cache() is None


def test_fingerprint_follows_sources_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.fingerprint()
    monkeypatch.setattr(numba, "__version__", "0.0")
    assert cache.fingerprint() != before
    monkeypatch.undo()
    assert cache.fingerprint() == before
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    (tmp_path / "a.py").write_text("x = 1")
    one = cache.fingerprint()
    (tmp_path / "a.py").write_text("x = 2")
    assert len({before, one, cache.fingerprint()}) == 3


def test_numbas_own_setting_is_put_back(tmp_path: Path) -> None:
    before = numba.config.CACHE_DIR
    with cache.caching_in(tmp_path):
        assert str(tmp_path) == numba.config.CACHE_DIR
    assert before == numba.config.CACHE_DIR
