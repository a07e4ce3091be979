"""Adam, and AdamW: Adam with weight decay taken out of the gradient."""

from __future__ import annotations

from typing import Any, ClassVar

from ..backends import Array, backend_of
from .arrays import blocks
from .optimizer import Batch, Group, Optimizer, Params


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", Algorithm 1).

    With gradient g_t, weight decay λ, learning rate α::

        g_t = g_t + λ θ_{t-1}
        m_t = β1 m_{t-1} + (1 - β1) g_t
        v_t = β2 v_{t-1} + (1 - β2) g_t²
        m̂_t = m_t / (1 - β1^t),   v̂_t = v_t / (1 - β2^t)
        θ_t = θ_{t-1} - α m̂_t / (√v̂_t + ε)

    Equal to ``torch.optim.Adam``. Keras and TensorFlow add ε before v is corrected (the paper's "ε̂") and use 1e-7.

    Parameters
    ----------
    params : iterable of Tensor, (name, Tensor) or dict
        See `Optimizer`.
    lr : float
        α, at least 0.
    betas : (float, float)
        β1, β2: what each moment keeps from step to step, at least 0 and below 1.
    eps : float
        ε, at least 0.
    weight_decay : float
        λ, at least 0: gradient of λ/2 ‖θ‖² (L2).
    amsgrad : bool
        Divide by the largest v_t so far (Reddi et al. 2018, "On the Convergence of Adam and Beyond").
    maximize : bool
        Go up the gradient.

    Raises
    ------
    TypeError, ValueError
        See `Optimizer`.
    """

    decoupled_weight_decay: ClassVar[bool] = False

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "amsgrad": amsgrad, "maximize": maximize})

    def check(self, options: Group) -> None:
        super().check(options)
        self._check_betas(options)
        self._range(options, "eps", 0, float("inf"))

    def slots(self, group: Group) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def update(self, param: Array, grad: Array, state: dict[str, Any], group: Group) -> None:
        xp, t = backend_of([param]).xp, state["step"]
        lr, decay, (beta1, beta2), eps = group["lr"], group["weight_decay"], group["betas"], group["eps"]
        correction1, correction2 = 1 - beta1**t, 1 - beta2**t
        for p, g, m, v, *largest in blocks(param, grad, *[state[name] for name in self.slots(group)]):
            if decay and self.decoupled_weight_decay:
                p *= 1 - lr * decay
            elif decay:
                g = g + decay * p
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            if largest:
                v = xp.maximum(v, largest[0], out=largest[0])
            p -= lr / correction1 * m / (xp.sqrt(v / correction2) + eps)

    def update_together(self, batch: Batch) -> None:
        beta1, t = batch.group["betas"][0], batch.states[0]["step"]
        of_momentum = batch.group["lr"] / (1 - beta1**t)
        adam_together(batch, slice(None), 0.0, of_momentum, decoupled=self.decoupled_weight_decay)


def adam_together(batch: Batch, which: slice, of_gradient: float, of_momentum: float, decoupled: bool) -> None:
    """One launch of ``p -= (of_gradient g + of_momentum m) / (sqrt(v / correction) + eps)`` for all of ``which``."""
    group, decay, t = batch.group, batch.group["weight_decay"], batch.states[0]["step"]
    batch.updates.adam(
        batch.params[which],
        batch.grads[which],
        batch.slot("exp_avg")[which],
        batch.slot("exp_avg_sq")[which],
        batch.slot("max_exp_avg_sq")[which] if group.get("amsgrad") else None,
        betas=group["betas"],
        of_gradient=of_gradient,
        of_momentum=of_momentum,
        correction=1 - group["betas"][1] ** t,
        eps=group["eps"],
        decay=0.0 if decoupled else decay,
        shrink=1 - group["lr"] * decay if decoupled else 1.0,
        maximize=group["maximize"],
    )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization").

    As `Adam`, but the decay does not pass through the moments: it shrinks the weights first, by α λ (Algorithm 2)::

        θ_t = (1 - α λ) θ_{t-1} - α m̂_t / (√v̂_t + ε)

    Equal to ``torch.optim.AdamW``. In the paper λ is multiplied by the schedule's factor alone, not by α.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize
        See `Adam`.
    weight_decay : float
        λ, at least 0.

    Raises
    ------
    TypeError, ValueError
        See `Optimizer`.
    """

    decoupled_weight_decay = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
