"""Products with a Jacobian and with a Hessian, without building either; both made of two walks backwards.

One walk gives g = Jᵀ u, for any u. That is linear in u, so its gradient with respect to u along v, a second walk, is
J v, the forward-mode derivative (Townsend 2017, "A new trick for calculating Jacobian vector products"). For a function
with a single number as result g is its gradient, and a second walk from g along v gives H v (Pearlmutter 1994, "Fast
exact multiplication by the Hessian").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import tape
from .backends import Array
from .backends.device import is_array, zeros_like
from .backends.dtypes import is_floating
from .tensor import Tensor, wrap

Tensors = Tensor | Sequence[Tensor]


def jvp(fn: Callable[..., Tensors], inputs: Tensors, tangents: Any, *, create_graph: bool = False) -> tuple[Any, Any]:
    """Outputs of ``fn(*inputs)``, and how they change as the inputs move along ``tangents``: (f(x), J v).

    Parameters
    ----------
    fn : function of the inputs that returns a Tensor or a sequence of them
        Every operation in it needs a second derivative. What it holds other than through its arguments is constant.
    inputs : Tensor or sequence of Tensor
        Floating-point; whether they require gradients does not matter.
    tangents : Tensor or array, or sequence of them
        One for each input, of its shape.
    create_graph : bool
        Record the computation, so that both results can be differentiated; otherwise they are constants.

    Returns
    -------
    outputs, derivatives : Tensor or tuple of Tensor, as ``fn`` returns
        Pairwise of one shape and dtype; a derivative is 0 where the output does not depend on the inputs.

    Raises
    ------
    TypeError
        An input or an output is not a floating-point Tensor.
    ValueError
        There is not one tangent for each input, of its shape.

    Examples
    --------
    >>> from tinygrad_effnet import Tensor
    >>> jvp(lambda x: x * x, Tensor([1.0, 2.0, 3.0]), Tensor([1.0, 0.0, -1.0]))
    (Tensor([1., 4., 9.]), Tensor([ 2.,  0., -6.]))
    """
    starts, along = _starts("jvp", inputs, "tangents", tangents, create_graph)
    with tape.enable_grad():
        result = fn(*starts)
        outputs = _floats("jvp", "fn: output", [result] if isinstance(result, Tensor) else result)
        made = [y for y in outputs if y.node is not None]
        upstream = [wrap(zeros_like(y.array)).requires_grad_() for y in made]
        pulled = tape.grad(made, starts, upstream, create_graph=True, allow_unused=True)
    pairs = [(g, v) for g, v in zip(pulled, along, strict=True) if g is not None and g.node is not None]
    derivatives: Sequence[Tensor | None] = [None] * len(made)
    if pairs:
        derivatives = tape.grad(*_split(pairs, upstream), create_graph=create_graph, allow_unused=True)
    found = iter(derivatives)
    moved = [_or_zeros(next(found) if y.node is not None else None, y) for y in outputs]
    if not create_graph:
        outputs = [y.detach() for y in outputs]
    return (outputs[0], moved[0]) if isinstance(result, Tensor) else (tuple(outputs), tuple(moved))


def hvp(fn: Callable[..., Tensor], inputs: Tensors, vectors: Any, *, create_graph: bool = False) -> tuple[Tensor, Any]:
    """Value of ``fn(*inputs)``, a single number, and the product of its matrix of second derivatives: (f(x), H v).

    Parameters
    ----------
    fn : function of the inputs that returns a Tensor of one entry
    inputs, vectors, create_graph
        As the arguments of `jvp`.

    Returns
    -------
    value : Tensor
    product : Tensor or tuple of Tensor, as ``inputs``
        Each of the shape and dtype of its input; 0 where the gradient does not depend on it.

    Raises
    ------
    TypeError
        An input or the value is not a floating-point Tensor.
    ValueError
        ``fn`` returns more than one number, or there is not one vector for each input, of its shape.

    Examples
    --------
    >>> from tinygrad_effnet import Tensor
    >>> hvp(lambda x: (x * x * x).sum(), Tensor([1.0, 2.0]), Tensor([1.0, 1.0]))
    (Tensor(9.), Tensor([ 6., 12.]))
    """
    starts, along = _starts("hvp", inputs, "vectors", vectors, create_graph)
    with tape.enable_grad():
        result = fn(*starts)
        (value,) = _floats("hvp", "fn: output", [result])
        if value.array.size != 1:
            raise ValueError(
                f"hvp(fn): it returned a tensor of shape {value.shape}; a Hessian belongs to a single number, so "
                "reduce it first (.sum(), .mean())"
            )
        gradients: Sequence[Tensor | None] = [None] * len(starts)
        if value.node is not None:
            gradients = tape.grad(value, starts, create_graph=True, allow_unused=True)
    pairs = [(g, v) for g, v in zip(gradients, along, strict=True) if g is not None and g.node is not None]
    products: Sequence[Tensor | None] = [None] * len(starts)
    if pairs:
        products = tape.grad(*_split(pairs, starts), create_graph=create_graph, allow_unused=True)
    moved = tuple([_or_zeros(product, x) for product, x in zip(products, starts, strict=True)])
    return value if create_graph else value.detach(), moved[0] if isinstance(inputs, Tensor) else moved


def _split(pairs: Sequence[tuple[Tensor, Tensor]], inputs: Sequence[Tensor]) -> tuple[Any, Any, Any]:
    """Arguments of a walk from the first of each pair, with the second as its gradient, to ``inputs``."""
    return [g for g, _ in pairs], inputs, [v for _, v in pairs]


def _or_zeros(x: Tensor | None, like: Tensor) -> Tensor:
    return wrap(zeros_like(like.array)) if x is None else x


def _starts(caller: str, inputs: Any, name: str, vectors: Any, create_graph: bool) -> tuple[list[Tensor], list[Tensor]]:
    """Fresh tensors to start from, linked to the user's only where the result is to be recorded, and the vectors."""
    alone = isinstance(inputs, Tensor)
    tensors = _floats(caller, "inputs: entry", [inputs] if alone else inputs)
    given = [vectors] if alone and not isinstance(vectors, (list, tuple)) else list(vectors)
    if len(given) != len(tensors):
        raise ValueError(f"{caller}({name}): {len(given)} for {len(tensors)} inputs; give one for each")
    along = []
    for i, (x, v) in enumerate(zip(tensors, given, strict=True)):
        v = v if isinstance(v, Tensor) else wrap(_array(v))
        if v.shape != x.shape:
            raise ValueError(
                f"{caller}({name}): {name}[{i}] has shape {v.shape} and its input {x.shape}; they must agree"
            )
        along.append(v if v.dtype == x.dtype else v.to(x.dtype))
    linked = [create_graph and x.requires_grad for x in tensors]
    with tape.enable_grad():
        starts = [
            x.reshape(x.shape) if link else x.detach().requires_grad_() for x, link in zip(tensors, linked, strict=True)
        ]
    return starts, along


def _array(value: Any) -> Array:
    return value if is_array(value) else np.asarray(value)


def _floats(caller: str, what: str, tensors: Any) -> list[Tensor]:
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(
            f"{caller}({what.partition(':')[0]}): got a {type(tensors).__name__}; expected a Tensor or a sequence"
        )
    for i, x in enumerate(tensors):
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        if not isinstance(x, Tensor) or not is_floating(x.dtype):
            raise TypeError(
                f"{caller}({what} {i}): got {found}; expected a floating-point Tensor, as .float() or "
                "Tensor(data, dtype='float64') makes it"
            )
    return list(tensors)
