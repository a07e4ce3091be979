"""NAdam: Adam that looks ahead along its momentum."""

from __future__ import annotations

from typing import Any, ClassVar

from ..backends import Array, backend_of
from .adam import adam_together
from .arrays import blocks
from .optimizer import Batch, Group, Optimizer, Params


class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2016, "Incorporating Nesterov Momentum into Adam", Algorithm 2).

    With gradient g_t, weight decay λ, learning rate α, momentum decay ψ, in Dozat's order (his ν and n are β2 and v)::

        g_t = g_t + λ θ_{t-1}                                  decoupled: θ_{t-1} = (1 - α λ) θ_{t-1} instead
        μ_t = β1 (1 - 0.5 · 0.96^(t ψ))
        m_t = β1 m_{t-1} + (1 - β1) g_t
        v_t = β2 v_{t-1} + (1 - β2) g_t²
        ĝ_t = g_t / (1 - ∏_{i=1..t} μ_i),   m̂_t = m_t / (1 - ∏_{i=1..t+1} μ_i),   v̂_t = v_t / (1 - β2^t)
        m̄_t = (1 - μ_t) ĝ_t + μ_{t+1} m̂_t
        θ_t = θ_{t-1} - α m̄_t / (√v̂_t + ε)

    This is ``torch.optim.NAdam``. Dozat lets m decay by μ_t rather than by β1, and multiplies v̂ by β2. Keras has ψ = 1
    and ε = 1e-7, so that its momentum is at full strength after 100 steps, not 25,000; optax has no μ schedule at all.
    The product of the μ is a Python float: PyTorch keeps it in float32, and so differs from here by some 1e-10.

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
        λ, at least 0: gradient of λ/2 ‖θ‖² (L2), unless decoupled.
    momentum_decay : float
        ψ, at least 0. The momentum μ_t rises from β1/2 towards β1, and is nine tenths of it after some 40/ψ steps.
    decoupled_weight_decay : bool
        Shrink the weights by α λ, as `AdamW` does, rather than add to the gradient.
    maximize : bool
        Go up the gradient.

    Raises
    ------
    TypeError, ValueError
        See `Optimizer`.
    """

    numbers: ClassVar[dict[str, int | float]] = {"step": 0, "mu_product": 1.0}

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay}
        super().__init__(params, {**options, "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize})

    def check(self, options: Group) -> None:
        super().check(options)
        self._check_betas(options)
        self._range(options, "eps", 0, float("inf"))
        self._range(options, "momentum_decay", 0, float("inf"))

    def slots(self, group: Group) -> tuple[str, ...]:
        return "exp_avg", "exp_avg_sq"

    def update(self, param: Array, grad: Array, state: dict[str, Any], group: Group) -> None:
        xp = backend_of([param]).xp
        lr, decay, (beta1, beta2), eps = group["lr"], group["weight_decay"], group["betas"], group["eps"]
        of_gradient, of_momentum = self._factors(state, group)
        correction2 = 1 - beta2 ** state["step"]
        for p, g, m, v in blocks(param, grad, state["exp_avg"], state["exp_avg_sq"]):
            if decay and group["decoupled_weight_decay"]:
                p *= 1 - lr * decay
            elif decay:
                g = g + decay * p
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            p -= (of_gradient * g + of_momentum * m) / (xp.sqrt(v / correction2) + eps)

    def update_together(self, batch: Batch) -> None:
        factors = [self._factors(state, batch.group) for state in batch.states]
        apart = len(set(factors)) > 1  # products of the μ that were restored with other steps than their own
        for i in range(len(factors) if apart else 1):
            which = slice(i, i + 1) if apart else slice(None)
            adam_together(batch, which, *factors[i], decoupled=batch.group["decoupled_weight_decay"])

    def _factors(self, state: dict[str, Any], group: Group) -> tuple[float, float]:
        """What gradient and momentum are multiplied with in this step; moves the product of the μ."""
        lr, beta1, t = group["lr"], group["betas"][0], state["step"]
        mu, mu_next = [beta1 * (1 - 0.5 * 0.96 ** (i * group["momentum_decay"])) for i in (t, t + 1)]
        product = state["mu_product"] = state["mu_product"] * mu
        return lr * (1 - mu) / (1 - product), lr * mu_next / (1 - product * mu_next)
