"""Use in ONNX Runtime, on the GPU, from a file that PyTorch wrote; images and logits stay on the card."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ..onnx_runtime import export
from ..settings import Settings

PROVIDER = "CUDAExecutionProvider"


class OnnxRuntime:
    """See `workload.Workload`. ``device`` is for tests, which have no GPU."""

    def __init__(self, settings: Settings, task: str, precision: str, device: str = "cuda") -> None:
        import onnxruntime

        if device == "cuda" and PROVIDER not in onnxruntime.get_available_providers():
            raise RuntimeError(f"this onnxruntime has no {PROVIDER}; install onnxruntime-gpu in its place")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads
        options.log_severity_level = 3
        provider: Any = "CPUExecutionProvider"
        if device == "cuda":
            provider = PROVIDER, {"use_tf32": str(int(precision == "tf32")), "cudnn_conv_algo_search": "EXHAUSTIVE"}
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "model.onnx")
            export(settings, file)
            self.session = onnxruntime.InferenceSession(file, options, providers=[provider])
        if device == "cuda" and PROVIDER not in self.session.get_providers():
            raise RuntimeError(f"onnxruntime could not start its {PROVIDER}: a library of CUDA or cuDNN is missing")
        self.device, self.runtime, self._images = device, onnxruntime, settings.images()
        self.binding: Any = None

    def wake(self) -> None:
        images = self.runtime.OrtValue.ortvalue_from_numpy(self._images, self.device, 0)
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input(self.session.get_inputs()[0].name, images)
        self.binding.bind_output(self.session.get_outputs()[0].name, self.device)

    def step(self) -> Any:
        self.session.run_with_iobinding(self.binding)
        return self.binding

    def read(self, result: Any) -> float:
        return float(result.copy_outputs_to_cpu()[0][0, 0])

    def wait(self) -> None:
        self.binding.synchronize_outputs()

    def held(self) -> int:
        return 0  # it does not tell

    def rest(self) -> None:
        self.binding = None


def prepare(settings: Settings, task: str, precision: str, **options: Any) -> OnnxRuntime:
    """As each entrant's file has it."""
    return OnnxRuntime(settings, task, precision, **options)
