"""What tests of networks share: modules whose batch norms differ, and images."""

from __future__ import annotations

import numpy as np

import tinygrad_effnet as tg


def with_random_state(module, seed=0):
    """The module in eval mode, no two channels of which are normalised alike."""
    rng = np.random.default_rng(seed)
    state = {
        name: rng.uniform(0.5, 2.0, t.shape) if name.endswith("running_var") else rng.normal(0, 0.5, t.shape)
        for name, t in module.state_dict().items()
        if t.dtype.kind == "f"
    }
    module.load_state_dict(state, strict=False)
    return module.eval()


def images(shape, seed=1):
    return tg.Tensor(np.random.default_rng(seed).standard_normal(shape), dtype="float32")
