"""Benchmark: how fast a network trains and runs here, against other libraries on the same machine in the same minutes.

``python examples/benchmark.py`` is the command; ``python -m tinygrad_effnet.benchmark`` is the same.
"""

from .command import main, parser

__all__ = ["main", "parser"]
