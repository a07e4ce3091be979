"""One optimiser of every kind, and of every option that changes what it remembers."""

from __future__ import annotations

import pytest

from tinygrad_effnet.optim import SGD, Adam, AdamW, NAdam

MAKERS = {
    "SGD": lambda params: SGD(params, lr=0.1),
    "SGD, momentum": lambda params: SGD(params, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "Adam": lambda params: Adam(params, lr=0.01),
    "Adam, amsgrad": lambda params: Adam(params, lr=0.01, amsgrad=True, weight_decay=0.01),
    "AdamW": lambda params: AdamW(params, lr=0.01),
    "NAdam": lambda params: NAdam(params, lr=0.01),
    "NAdam, decoupled": lambda params: NAdam(params, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
def make(request):
    """A function from parameters to an optimiser of them."""
    return request.param
