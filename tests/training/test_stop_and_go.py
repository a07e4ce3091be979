"""What goes wrong while a run goes on: killed, the disk full, nowhere to write, no numbers, no memory."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tinygrad_effnet import training
from tinygrad_effnet.training import History, TrainConfig, files, load_weights, run

KILLED_RUN = Path(__file__).parents[1] / "killed_run.py"
TINY = {"size": 32, "batch_size": 4, "epochs": 2, "limit_batches": 2, "workers": 0}

posix = pytest.mark.skipif(os.name != "posix", reason="needs what only POSIX has: fork, signals, resource limits")


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
@posix
def test_killed_a_hundred_times_it_ends_with_the_same_weights(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(KILLED_RUN), str(tmp_path), "100"], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"killed (\d+) times", done.stdout)[0]) > 40
    for name in ("best.safetensors", "last.safetensors"):
        straight, killed = (load_weights(tmp_path / run / name)[0] for run in ("straight", "killed"))
        for key, value in straight.items():
            np.testing.assert_array_equal(value, killed[key], err_msg=key)
    a, b = (History.load(tmp_path / run / "history.csv") for run in ("straight", "killed"))
    for column in ("epoch", "train_f1", "val_loss", "val_f1", "learning_rate"):
        assert a.column(column) == b.column(column)


def test_a_checkpoint_within_an_epoch_is_one_to_go_on_from(tmp_path: Path):
    config = TrainConfig(**{**TINY, "epochs": 1, "limit_batches": 3})
    training.train(config, tmp_path, "straight")

    def power_cut(*rest, **options):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Trainer, "evaluate", power_cut)  # after the last batch, before the epoch's own checkpoint
        with pytest.raises(KeyboardInterrupt):
            training.train(config.changed(checkpoint_minutes=1e-9), tmp_path, "cut")
    assert training.resume(tmp_path / "cut").finished
    straight, cut = (load_weights(tmp_path / name / "last.safetensors")[0] for name in ("straight", "cut"))
    for key, value in straight.items():
        np.testing.assert_array_equal(value, cut[key], err_msg=key)


def test_a_run_ended_before_its_first_checkpoint_begins_again(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    TrainConfig(**{**TINY, "epochs": 1, "limit_batches": 1}).save(folder / "config.json")
    assert training.resume(folder).finished


@pytest.mark.parametrize("failing", ["history.csv", "best.safetensors", "checkpoint.safetensors", "curves.png"])
def test_a_full_disk_leaves_the_last_checkpoint_and_says_so(tmp_path: Path, failing: str, monkeypatch):
    config = TrainConfig(**{**TINY, "limit_batches": 1})
    real, seen = files.os.fsync, []

    def full(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}") if Path("/proc").exists() else ""
        if f".{failing}.tmp" in name:
            seen.append(name)
            if len(seen) == 2 or failing == "best.safetensors":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="results cannot be written to .*No space left on device") as caught:
        training.train(config, tmp_path, "run")
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value, training.EXPECTED_ERRORS)
    saved = "there is no checkpoint yet" if failing == "best.safetensors" else "the last checkpoint is whole"
    assert saved in str(caught.value)
    monkeypatch.undo()
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith(".tmp")]
    assert training.resume(tmp_path / "run").finished


@posix
def test_a_real_limit_on_file_sizes_is_met_in_the_same_way(tmp_path: Path):
    code = """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))
        sys.path.insert(0, sys.argv[1])
        import train_cars
        sys.exit(train_cars.main(sys.argv[2:]))
    """
    examples = Path(__file__).parents[2] / "examples"
    flags = [
        "--out",
        tmp_path,
        "--name",
        "run",
        "--size",
        32,
        "--epochs",
        1,
        "--limit-batches",
        1,
        "--backend",
        "numpy",
    ]
    done = python(code, examples, *flags)
    assert done.returncode == 1
    assert f"train_cars: results cannot be written to {tmp_path / 'run'} (File too large)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/proc/sys").is_dir(), reason="needs /proc, which nobody may write to")
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_done():
    with pytest.raises(OSError, match=r"no folder for the run can be made in /proc/runs \(.*--out"):
        training.train(TrainConfig(**TINY), "/proc/runs")


@posix
def test_out_of_memory_says_which_batch_fits():
    """In a process whose address space is limited once it has started."""
    code = """
        import resource
        import numpy as np
        from tinygrad_effnet import nn, optim, use_backend
        from tinygrad_effnet.training import OutOfMemoryError, Trainer

        use_backend("numpy")
        model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        trainer = Trainer(model, optimizer, optim.WarmupCosine(optimizer, 0, 10), 2)
        images = np.random.default_rng(0).random((64, 3, 192, 192), dtype=np.float32)
        trainer.train_step(images[:2], np.array([0, 1]))
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
        try:
            trainer.train_step(images, np.arange(64) % 2)
        except OutOfMemoryError as error:
            print(error)
            trainer.train_step(images[: error.fits], np.arange(error.fits) % 2)
            print("and it does")
    """
    done = python(code)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"in epoch 1, batch 1 with 64 images a batch; a batch of (\d+) fits", done.stdout)
    assert found, done.stdout
    fits = int(found[0])
    assert 1 <= fits <= 32
    assert f"--batch-size {fits}, and with --accumulate {64 // fits}" in done.stdout
    assert "and it does" in done.stdout


def test_patience_ends_a_run_that_does_not_get_better(tmp_path: Path, monkeypatch, capsys):
    scores = iter([0.1, 0.3, 0.2, 0.3, 0.25, 0.9])
    real = run.EpochRecord
    monkeypatch.setattr(run, "EpochRecord", lambda **values: real(**{**values, "val_f1": next(scores)}))
    result = training.train(TrainConfig(**{**TINY, "epochs": 6, "limit_batches": 1, "patience": 3}), tmp_path, "run")
    assert result.finished
    assert len(result.history) == 5
    assert "stopped after epoch 5: no better for 3 epochs" in capsys.readouterr().out
    assert training.resume(tmp_path / "run").history[-1].epoch == 5
    assert training.resume(tmp_path / "run", patience=9).history[-1].epoch == 6
