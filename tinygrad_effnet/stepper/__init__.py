"""The stepper: record what the engine does, and go through it step by step.

>>> import tinygrad_effnet as tg
>>> w = tg.Tensor([1.0, 2.0], requires_grad=True)
>>> with tg.stepper.record() as run:
...     loss = (w * w).sum()
...     loss.backward()
>>> run
<Run of 5 steps: 2 forward, 3 backward, 0 update>

``print(run.explain(3))`` shows a step in the terminal, ``run.until(op="mul")`` finds one, ``run.replay()`` computes it
all once more, ``run.page("run.html")`` writes a page that steps through it in a browser, and ``run.embed()`` shows that
page in a notebook.
"""

from .embedded import Embedded
from .recorder import record
from .run import Run
from .snapshot import Snapshot
from .steps import Arrival, Difference, Operand, Place, Step

__all__ = ["Arrival", "Difference", "Embedded", "Operand", "Place", "Run", "Snapshot", "Step", "record"]
