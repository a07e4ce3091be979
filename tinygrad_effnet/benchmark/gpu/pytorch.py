"""The workload in PyTorch, on its current GPU, in its own best ways to use one."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch.nn import functional

from .. import ours
from ..settings import Settings
from ..torch_twin import twin_with_weights

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class PyTorch:
    """See `workload.Workload`.

    Training in 16 bits is PyTorch's automatic mixed precision, with a scale for float16; use in 16 bits has weights and
    images of that dtype. Compiled use records CUDA graphs ("reduce-overhead"). ``device`` is for tests.
    """

    def __init__(
        self,
        settings: Settings,
        task: str,
        precision: str,
        channels_last: bool,
        compiled: bool,
        device: str = "cuda",
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"this PyTorch ({torch.__version__}) sees no GPU; install one that is built for CUDA")
        torch.set_num_threads(settings.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        self.task, self.device = task, device
        self.dtype, self.layout = DTYPES.get(precision), torch.channels_last if channels_last else None
        model = twin_with_weights(ours.build(settings)).to(device).train(task == "training")
        if task == "inference" and self.dtype is not None:
            model = model.to(self.dtype)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        self.net: Any = model
        if compiled:
            mode = "default" if task == "training" else "reduce-overhead"
            self.net = torch.compile(model, mode=mode, dynamic=False)
        self.optimizer = torch.optim.NAdam(model.parameters(), lr=1e-3)
        self.scaler = torch.amp.GradScaler(device, enabled=precision == "float16" and task == "training")
        self._batch = torch.from_numpy(settings.images()), torch.from_numpy(settings.labels())
        self.images: Any = None
        self.labels: Any = None

    def wake(self) -> None:
        self.images, self.labels = (part.to(self.device) for part in self._batch)
        if self.layout is not None:
            self.images = self.images.to(memory_format=self.layout)
        if self.task == "inference" and self.dtype is not None:
            self.images = self.images.to(self.dtype)
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def step(self) -> Any:
        return self._train() if self.task == "training" else self._infer()

    def _train(self) -> Any:
        self.optimizer.zero_grad()
        with nullcontext() if self.dtype is None else torch.autocast(self.device, self.dtype):
            loss = functional.cross_entropy(self.net(self.images), self.labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def _infer(self) -> Any:
        with torch.inference_mode():
            return self.net(self.images)

    def read(self, result: Any) -> float:
        return float(result.reshape(-1)[0])

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def held(self) -> int:
        return torch.cuda.max_memory_reserved() if self.device == "cuda" else 0

    def rest(self) -> None:
        self.images = self.labels = None
        self.optimizer.zero_grad()
        if self.device == "cuda":
            torch.cuda.empty_cache()


def prepare(settings: Settings, task: str, precision: str, **options: Any) -> PyTorch:
    """As each entrant's file has it."""
    return PyTorch(settings, task, precision, **options)
