"""The same comparison on a GPU: ``python examples/benchmark.py --device cuda``, in one command of a few minutes.

`plan` says what is measured, `entrants` by whom; `match` lets them prepare side by side and then take turns; `report`
tells what came of it. Each entrant's own file (`ours`, `pytorch`, `onnx_runtime`) runs in a process of its own.
"""
