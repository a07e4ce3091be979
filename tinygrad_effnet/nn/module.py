"""Module: a piece of a network, with its parameters, its buffers and the modules it is built from.

There is no registration behind the scenes: a module's parameters are its attributes of type `Parameter`, its buffers
those of type `Buffer`, its children those of type `Module`, in the order in which they were set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .. import versions
from ..backends.device import array_like, is_array, move, place_named
from ..backends.dtypes import dtype_of, is_floating
from ..hooks import Hooks
from ..tensor import Hook, Tensor
from .summary import Summary, summarize

M = TypeVar("M", bound="Module")

around_calls = Hooks()  # around(module, forward, *inputs) runs every forward, and returns what it returns


class Parameter(Tensor):
    """A tensor that training changes; it stays one while its gradient is switched off (`Module.requires_grad_`)."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None) -> None:
        super().__init__(data, requires_grad, dtype)


class Buffer(Tensor):
    """A tensor that belongs to a module's state but is not trained, such as a running mean."""

    __slots__ = ()


class Differences(NamedTuple):
    """What `Module.load_state_dict` found: names the module has and the state lacks, and the reverse."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all layers and networks. A subclass sets its parts in ``__init__`` and computes in ``forward``.

    Attributes
    ----------
    training : bool
        True in training, False in use; set for a whole network with `train` and `eval`.

    Examples
    --------
    >>> from tinygrad_effnet import nn
    >>> class Halved(nn.Module):
    ...     def __init__(self):
    ...         self.linear = nn.Linear(4, 2)
    ...
    ...     def forward(self, x):
    ...         return self.linear(x) * 0.5
    >>> [name for name, _ in Halved().named_parameters()]
    ['linear.weight', 'linear.bias']
    """

    training: bool = True

    def forward(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} does not say what it computes: define forward(self, ...)")

    def __call__(self, *inputs: Any) -> Any:
        forward = around_calls.bind(self.forward, self) if around_calls else self.forward
        output = forward(*inputs)
        hooks = self.__dict__.get("_forward_hooks")
        if not hooks:
            return output
        for hook in tuple(hooks):
            replacement = hook(self, inputs, output)
            output = output if replacement is None else replacement
        return output

    def register_forward_hook(self, hook: Callable[[Module, tuple[Any, ...], Any], Any]) -> Hook:
        """Call ``hook(module, inputs, output)`` after each forward; a result other than None replaces the output."""
        hooks = self.__dict__.setdefault("_forward_hooks", [])
        hooks.append(hook)
        return Hook(hooks, hook)

    def __setattr__(self, name: str, value: Any) -> None:
        # `layer.weight *= 2` makes a new tensor; the layer would silently lose its parameter to it
        before = vars(self).get(name)
        if isinstance(before, Parameter | Buffer) and isinstance(value, Tensor) and type(value) is Tensor:
            kind = type(before).__name__
            raise TypeError(
                f"{type(self).__name__}.{name}: got a plain Tensor in place of a {kind}, which training and "
                f"state_dict() would no longer see. Write into it, with no_grad(): "
                f"module.{name}[:] = ..., or set a new {kind}(...)"
            )
        super().__setattr__(name, value)

    # -- parts -----------------------------------------------------------------------------------------------------
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that this one is directly built from, by attribute name."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names; the module itself has the name ``prefix``."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter of this module and those below, once, with its dotted name."""
        return self._named(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer of this module and those below, once, with its dotted name."""
        return self._named(Buffer)

    def buffers(self) -> Iterator[Buffer]:
        return (buffer for _, buffer in self.named_buffers())

    def _named(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{prefix}.{name}" if prefix else name), value

    def get_submodule(self, name: str) -> Module:
        """The module with this dotted name; ValueError, listing the nearest names, where there is none."""
        modules = dict(self.named_modules())
        if name not in modules:
            parent = name
            while parent not in modules:
                parent = parent.rpartition(".")[0]
            children = ", ".join(child for child, _ in modules[parent].named_children()) or "nothing"
            raise ValueError(f"get_submodule(name): there is no {name!r}; {parent or 'the module'!s} holds {children}")
        return modules[name]

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call ``function`` on this module and all below it, children first."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # -- modes -----------------------------------------------------------------------------------------------------
    def train(self: M, mode: bool = True) -> M:
        """The behaviour of training (batch statistics, dropout), here and below; with False that of use."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """The behaviour of use: running statistics, no dropout."""
        return self.train(False)

    def requires_grad_(self: M, value: bool = True) -> M:
        """Switch the gradients of all parameters on or off; off freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad = value
        return self

    def zero_grad(self) -> None:
        """Forget all gradients: set each parameter's ``.grad`` to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self: M, target: Any) -> M:
        """Move parameters and buffers to another memory, or convert the floating-point ones, in place.

        Parameters
        ----------
        target : str or dtype
            A place, as `ops.to` has them ("cpu", "cupy", "cuda:1"): gradients move too, and the state of an optimiser
            follows at its next step. Or a dtype: gradients are forgotten.

        Raises
        ------
        ImportError
            There is no such GPU, or CuPy or a driver is missing. Nothing has been moved then.
        DeviceMemoryError
            It does not fit there. Nothing has been moved then either.
        """
        place, tensors = place_named(target), [tensor for _, tensor in self._named(Tensor)]
        if place is not None:
            moved = [(move(t.array, place), None if t.grad is None else t.grad.to(place)) for t in tensors]
            for tensor, (array, gradient) in zip(tensors, moved, strict=True):
                tensor.array, tensor.grad = array, gradient
            return self
        dtype = dtype_of(target)
        for tensor in tensors:
            if is_floating(tensor.dtype) and tensor.dtype != dtype:
                recorded = tensor.requires_grad
                tensor.requires_grad = False
                tensor.array, tensor.grad = tensor.array.astype(dtype), None
                tensor.requires_grad = recorded
        return self

    def cpu(self: M) -> M:
        """Move everything to the host's memory."""
        return self.to("cpu")

    def cuda(self: M, device: int | None = None) -> M:
        """Move everything to a GPU: the current one, or that of the number given."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def double(self: M) -> M:
        return self.to(np.float64)

    def float(self: M) -> M:
        return self.to(np.float32)

    # -- state -----------------------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and buffers by name, sharing memory with the module's own (training goes on changing them)."""
        return {name: tensor.detach() for name, tensor in self._named((Parameter, Buffer))}  # type: ignore[arg-type]

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Differences:
        """Copy tensors or arrays, wherever they lie, into the parameters and buffers of the same names.

        Parameters
        ----------
        state : mapping of str to Tensor or array
        strict : bool
            Refuse unless the names are exactly the module's own. Shapes must agree in any case.

        Raises
        ------
        ValueError
            Names or shapes differ; every difference is listed, and nothing has been changed.
        """
        own: dict[str, Tensor] = dict(self._named((Parameter, Buffer)))  # type: ignore[arg-type]
        given = {name: value.array if isinstance(value, Tensor) else value for name, value in state.items()}
        given = {name: value if is_array(value) else np.asarray(value) for name, value in given.items()}
        differences = Differences([n for n in own if n not in given], [n for n in given if n not in own])
        shared = [name for name in own if name in given]
        problems = [
            f"  {name}: shape {given[name].shape} given, {own[name].shape} expected"
            for name in shared
            if given[name].shape != own[name].shape
        ]
        if strict:
            problems += [f"  {name}: missing" for name in differences.missing_keys]
            problems += [f"  {name}: not a name of this module" for name in differences.unexpected_keys]
        if problems:
            advice = "" if not strict else "\nUse strict=False to load only the names that agree."
            raise ValueError(
                f"load_state_dict(state): it does not fit {type(self).__name__} in {len(problems)} places, and "
                "nothing was loaded:\n" + _shortened(problems) + advice
            )
        versions.wrote("load_state_dict()", *[own[name].array for name in shared])
        for name in shared:
            own[name].array[...] = array_like(given[name], own[name].array)
        return differences

    # -- pictures --------------------------------------------------------------------------------------------------
    def summary(self, input_shape: tuple[int, ...], depth: int = 3) -> Summary:
        """A table of the modules, the shapes they give, their parameters and their multiply-adds.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of the input, batch included, e.g. ``(1, 3, 224, 224)``.
        depth : int
            How many levels of modules to list.
        """
        return summarize(self, input_shape, depth)

    def extra_repr(self) -> str:
        """The settings that ``repr`` shows in brackets."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        return f"{type(self).__name__}({self.extra_repr()}\n  " + "\n  ".join(children) + "\n)"


def _shortened(lines: list[str], most: int = 30) -> str:
    rest = len(lines) - most
    return "\n".join(lines[:most]) + (f"\n  ... and {rest} more" if rest > 0 else "")


def place_of(module: Module) -> str:
    """Where a module's parameters lie: "cpu", or "cuda:0", "cuda:1", ..."""
    return next((parameter.device for parameter in module.parameters()), "cpu")
