"""Hooks: places in the engine where somebody may look on, or step in, without the engine knowing who."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


class Hooks(list[Callable[..., Any]]):
    """The functions that are called at one place, in whatever thread it is reached. Empty, it costs a glance.

    As a context manager, ``with hooks(function):``, it holds the function for the length of a block.
    """

    @contextmanager
    def __call__(self, function: Callable[..., Any]) -> Iterator[None]:
        self.append(function)
        try:
            yield
        finally:
            self.remove(function)

    def bind(self, call: Callable[..., Any], *subject: Any) -> Callable[..., Any]:
        """The call with every hook around it: a hook is run as ``hook(*subject, call, *arguments)`` in its stead."""
        for hook in self:
            call = partial(hook, *subject, call)
        return call
