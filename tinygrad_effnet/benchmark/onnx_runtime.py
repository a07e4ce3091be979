"""The workload in ONNX Runtime: inference with a file that PyTorch wrote."""

from __future__ import annotations

from collections.abc import Callable

from .settings import Settings


def prepare(settings: Settings, task: str, file: str) -> Callable[[], float]:
    """As `ours.prepare`; ``file`` is what `export` wrote."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: settings.images()}

    def infer() -> float:
        return float(session.run(None, feed)[0][0, 0])

    return infer


def export(settings: Settings, file: str) -> None:
    """Write the network, with the weights of ours, as ONNX."""
    import torch

    from . import ours
    from .torch_twin import twin_with_weights

    model = twin_with_weights(ours.build(settings)).eval()
    torch.onnx.export(model, (torch.from_numpy(settings.images()),), file, dynamo=True, verbose=False)
