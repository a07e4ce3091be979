"""Activations stay channel-major through a whole network, and whatever copy is made can be seen."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_effnet as tg
from tinygrad_effnet import nn
from tinygrad_effnet.backends import available_backends

if "numba" not in available_backends():
    pytest.skip("Numba is not installed", allow_module_level=True)

from tinygrad_effnet.backends.numba import layout, watch_conversions


@pytest.mark.parametrize("fused", [True, False])
def test_a_training_step_converts_the_images_and_nothing_else(fused: bool) -> None:
    net = nn.EfficientNet("b0", 3, fused=fused)
    images = tg.Tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 48)), dtype="float32")
    with tg.use_backend("numba"), watch_conversions() as seen:
        tg.cross_entropy(net(images), np.array([0, 2])).backward()
    large = [conversion for conversion in seen if conversion.shape[2:] not in ((), (1, 1))]
    # the stem's columns are made once in the forward pass, and anew for the gradient of its weights
    assert {conversion.shape for conversion in large} == {(3, 2, 64, 48)}, large
    assert len(large) <= 2


def test_a_conversion_names_shape_bytes_and_line() -> None:
    x = np.zeros((2, 3, 4, 5), np.float32)
    with watch_conversions() as seen:
        layout.channel_major(x)
        layout.plain(x)
        layout.plain(np.zeros((3, 2)).T)
    assert [(c.shape, c.nbytes) for c in seen] == [((3, 2, 4, 5), 480)]
    assert __file__.rpartition("/")[2] in seen[0].where
    layout.channel_major(x)
    assert len(seen) == 1


def test_the_environment_has_conversions_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(layout, "_telling", True)
    layout.channel_major(np.zeros((2, 3, 4, 5), np.float32))
    assert "layout of (3, 2, 4, 5) converted, 480 bytes, at " in capsys.readouterr().err
