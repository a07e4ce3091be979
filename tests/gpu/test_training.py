"""Two epochs of real training on the device: a run that begins there, learns, and goes on on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_effnet import backends
from tinygrad_effnet.training import ConfigError, History, TrainConfig, resume, train


@pytest.mark.device_only
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_two_epochs_of_the_synthetic_cars(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_default", None)  # what a run chooses for the process is put back afterwards
    config = TrainConfig(size=64, epochs=2, batch_size=32, backend="cupy", workers=2, precision=precision)
    done = train(config, tmp_path, "run")
    assert done.finished
    losses = History.load(done.folder / "history.csv").column("train_loss")
    assert len(losses) == 2
    assert losses[1] < 0.9 * losses[0]
    if precision != "float32":
        with pytest.raises(ConfigError, match=f"precision: got '{precision}', but the network lies on the host"):
            resume(done.folder, backend="numpy", epochs=3)
    assert resume(done.folder, backend="numpy", precision="float32", epochs=3, limit_batches=1).finished
