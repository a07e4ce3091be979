"""Make golden/b0_64.npz, PyTorch's numbers for EfficientNet-B0:  python tests/nn/make_golden.py

Weights, images and labels are drawn by NumPy from a seed, tensor by tensor in the order of the state dictionary, so
that the file
need hold results only: logits in eval and in train mode, loss, running statistics, and of every gradient and every
weight after one and
five NAdam steps its norm and some of its entries. All in float64, so that a comparison shows mistakes and not rounding.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

PATH = Path(__file__).parent / "golden" / "b0_64.npz"
CLASSES, BATCH, SIZE, SAMPLES, LR = 10, 4, 64, 16, 1e-3


def draw(shapes: dict[str, tuple[int, ...]]) -> list[np.ndarray]:
    """Values for every tensor of a state dictionary, by order: trained-looking norms, scaled convolutions."""
    rng = np.random.default_rng(2019)
    values = []
    for name, shape in shapes.items():
        kind = name.rpartition(".")[2]
        if kind == "num_batches_tracked":
            values.append(np.zeros((), np.int64))
        elif kind == "running_var":
            values.append(rng.uniform(0.5, 1.5, shape).astype(np.float32))
        elif kind == "running_mean":
            values.append(rng.uniform(-0.2, 0.2, shape).astype(np.float32))
        elif len(shape) > 1:
            fan_out = shape[0] * int(np.prod(shape[2:])) if shape[1] > 1 else int(np.prod(shape[2:]))
            values.append((rng.standard_normal(shape) * np.sqrt(2 / fan_out)).astype(np.float32))
        elif kind == "weight":
            values.append(rng.uniform(0.5, 1.5, shape).astype(np.float32))
        else:
            values.append(rng.uniform(-0.5, 0.5, shape).astype(np.float32))
    return values


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.standard_normal((BATCH, 3, SIZE, SIZE)), rng.integers(0, CLASSES, BATCH)


def digest(tensors: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of each tensor its norm, and ``SAMPLES`` entries at places that depend on its size only."""
    norms = np.array([np.linalg.norm(t.astype(np.float64)) for t in tensors])
    entries = np.stack([t.ravel()[np.random.default_rng(t.size).integers(0, t.size, SAMPLES)] for t in tensors])
    return norms, entries


def main() -> None:
    import torch
    from torch_efficientnet import EfficientNet

    torch.manual_seed(0)
    model = EfficientNet("b0", CLASSES)
    state = model.state_dict()
    values = draw({name: tuple(t.shape) for name, t in state.items()})
    model.load_state_dict({name: torch.from_numpy(v) for name, v in zip(state, values, strict=True)})
    model = model.double()
    images, labels = (torch.from_numpy(a) for a in batch())
    out: dict[str, np.ndarray] = {}
    with torch.no_grad():
        out["eval_logits"] = model.eval()(images).numpy()
    optimizer = torch.optim.NAdam(model.train().parameters(), lr=LR)
    for step in range(1, 6):
        optimizer.zero_grad()
        logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.backward()
        if step == 1:
            out["logits"], out["loss"] = logits.detach().numpy(), np.float64(loss.item())
            out["grad_norms"], out["grad_entries"] = digest([p.grad.numpy() for p in model.parameters()])
            out["running"] = np.concatenate([b.numpy() for b in model.buffers() if b.ndim])
        optimizer.step()
        if step in (1, 5):
            norms, entries = digest([p.detach().numpy() for p in model.parameters()])
            out[f"norms_{step}"], out[f"entries_{step}"] = norms, entries
    np.savez_compressed(PATH, **out)
    print(PATH, PATH.stat().st_size, "bytes; PyTorch", torch.__version__)


if __name__ == "__main__":
    main()
