"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from ..backends import Array
from .arrays import blocks
from .optimizer import Batch, Group, Optimizer, Params


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013, "On the importance of initialization ...").

    With gradient g_t, weight decay λ, momentum μ, dampening τ, learning rate α::

        g_t = g_t + λ θ_{t-1}
        b_t = μ b_{t-1} + (1 - τ) g_t          b_1 = g_1
        θ_t = θ_{t-1} - α b_t                  Nesterov: θ_{t-1} - α (g_t + μ b_t)

    Equal to ``torch.optim.SGD``. The learning rate stands outside b, so changing it does not rescale the past;
    in Sutskever's paper and in Keras it stands inside.

    Parameters
    ----------
    params : iterable of Tensor, (name, Tensor) or dict
        See `Optimizer`.
    lr : float
        α, at least 0.
    momentum : float
        μ, at least 0; with 0 nothing is remembered.
    dampening : float
        τ, at least 0: how much of a gradient, from the second on, does not enter b.
    weight_decay : float
        λ, at least 0: gradient of λ/2 ‖θ‖².
    nesterov : bool
        Look ahead along the momentum; needs momentum, and no dampening.
    maximize : bool
        Go up the gradient.

    Raises
    ------
    TypeError, ValueError
        See `Optimizer`.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**options, "nesterov": nesterov, "maximize": maximize})

    def check(self, options: Group) -> None:
        super().check(options)
        self._range(options, "momentum", 0, float("inf"))
        self._range(options, "dampening", 0, float("inf"))
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError(
                f"SGD(nesterov): needs momentum above 0 and dampening 0, got momentum={options['momentum']}, "
                f"dampening={options['dampening']}"
            )

    def slots(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def update(self, param: Array, grad: Array, state: dict[str, Any], group: Group) -> None:
        lr, decay, momentum, nesterov = group["lr"], group["weight_decay"], group["momentum"], group["nesterov"]
        if not momentum:
            for p, g in blocks(param, grad):
                p -= lr * (g + decay * p if decay else g)
            return
        share = 1 if state["step"] == 1 else 1 - group["dampening"]
        for p, g, b in blocks(param, grad, state["momentum_buffer"]):
            if decay:
                g = g + decay * p
            b *= momentum
            b += share * g
            p -= lr * (g + momentum * b if nesterov else b)

    def update_together(self, batch: Batch) -> None:
        group = batch.group
        batch.updates.sgd(
            batch.params,
            batch.grads,
            batch.slot("momentum_buffer") if group["momentum"] else None,
            lr=group["lr"],
            decay=group["weight_decay"],
            momentum=group["momentum"],
            share=1.0 if batch.states[0]["step"] == 1 else 1 - group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
        )
