"""An optimiser's update for one entry, number by number, as its formulas write it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .steps import Step

Numbers = list[tuple[str, float]]
Entries = dict[str, float]  # θ, g and the moments before; those after with a prime


def largest_gradient(step: Step) -> tuple[int, ...]:
    """Where the gradient of this update is largest: the entry that is worked out."""
    g = step.inputs[1].value
    place = np.unravel_index(int(np.abs(np.nan_to_num(g.kept)).argmax()), g.kept.shape)
    return g.index_of(tuple([int(i) for i in place]))


def worked_update(step: Step, index: tuple[int, ...] | None = None) -> Numbers:
    """Every quantity of the update's formulas at one entry, in float64 from the numbers before the step.

    The last is θ_t; what the engine computed in the parameter's own dtype is in the step's outputs. Nothing for an
    optimiser whose formulas are not known here, or for a parameter without entries.
    """
    work = _work.get(step.op)
    if work is None or not step.inputs[1].value.kept.size:
        return []
    at = largest_gradient(step) if index is None else index
    before = {operand.name: operand.value.at(at) for operand in step.inputs}
    if any(number is None for number in before.values()):
        return []
    entries = {name: float(number) for name, number in before.items() if number is not None}
    return work(step, entries)


def _nadam(step: Step, at: Entries) -> Numbers:
    o, t = step.settings, step.settings["after"]["step"]
    (beta1, beta2), decay, lr, theta, g = o["betas"], o["weight_decay"], o["lr"], at["θ"], at["g"]
    if o["decoupled_weight_decay"]:
        theta *= 1 - lr * decay
    else:
        g += decay * theta
    mu, mu_next = [beta1 * (1 - 0.5 * 0.96 ** (i * o["momentum_decay"])) for i in (t, t + 1)]
    product = o["before"]["mu_product"] * mu
    m, v = beta1 * at["exp_avg"] + (1 - beta1) * g, beta2 * at["exp_avg_sq"] + (1 - beta2) * g * g
    g_hat, m_hat, v_hat = g / (1 - product), m / (1 - product * mu_next), v / (1 - beta2**t)
    ahead = (1 - mu) * g_hat + mu_next * m_hat
    change = -lr * ahead / (math.sqrt(v_hat) + o["eps"])
    return [
        *(("t", t), ("α", lr), ("g_t", g), ("μ_t", mu), ("μ_{t+1}", mu_next), ("∏ μ", product)),
        *(("m_t", m), ("v_t", v), ("ĝ_t", g_hat), ("m̂_t", m_hat), ("v̂_t", v_hat), ("m̄_t (looks ahead)", ahead)),
        *(("θ_t − θ_{t−1}", change + theta - at["θ"]), ("θ_t", theta + change)),
    ]


def _adam(step: Step, at: Entries) -> Numbers:
    o, t = step.settings, step.settings["after"]["step"]
    (beta1, beta2), decay, lr, theta, g = o["betas"], o["weight_decay"], o["lr"], at["θ"], at["g"]
    if step.op == "AdamW":
        theta *= 1 - lr * decay
    else:
        g += decay * theta
    m, v = beta1 * at["exp_avg"] + (1 - beta1) * g, beta2 * at["exp_avg_sq"] + (1 - beta2) * g * g
    largest = max(v, at["max_exp_avg_sq"]) if o["amsgrad"] else v
    m_hat, v_hat = m / (1 - beta1**t), largest / (1 - beta2**t)
    change = -lr * m_hat / (math.sqrt(v_hat) + o["eps"])
    return [
        *(("t", t), ("α", lr), ("g_t", g), ("m_t", m), ("v_t", v), ("m̂_t", m_hat), ("v̂_t", v_hat)),
        *(("θ_t − θ_{t−1}", change + theta - at["θ"]), ("θ_t", theta + change)),
    ]


def _sgd(step: Step, at: Entries) -> Numbers:
    o, t = step.settings, step.settings["after"]["step"]
    lr, momentum, theta = o["lr"], o["momentum"], at["θ"]
    g = at["g"] + o["weight_decay"] * theta
    share = 1 if t == 1 else 1 - o["dampening"]
    b = momentum * at["momentum_buffer"] + share * g if momentum else g
    change = -lr * (g + momentum * b if o["nesterov"] else b)
    return [("t", t), ("α", lr), ("g_t", g), ("b_t", b), ("θ_t − θ_{t−1}", change), ("θ_t", theta + change)]


_work: dict[str, Callable[[Step, Entries], Numbers]] = {"NAdam": _nadam, "Adam": _adam, "AdamW": _adam, "SGD": _sgd}
