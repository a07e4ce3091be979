#!/usr/bin/env python3
"""Measure how fast EfficientNet trains and runs here.

    python examples/benchmark.py                    # B0, 224 px, batch 16; PyTorch and others too if installed
    python examples/benchmark.py --compiled         # PyTorch compiled as well
    python examples/benchmark.py --model b3 --size 300 --batch 4
    python examples/benchmark.py --profile          # where the time of a training step goes
    python examples/benchmark.py --scaling          # over batches and over sizes of images
    python examples/benchmark.py --epoch-table      # an epoch of Stanford Cars, from loops to compiled kernels
    python examples/benchmark.py --device cuda      # on an NVIDIA GPU: every precision, PyTorch, memory, an epoch
    python examples/benchmark.py --device cuda --profile

``--json FILE`` writes what was measured, whatever it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from a source tree, installed or not

from tinygrad_effnet.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
