"""After reading: each public name of the package stands in the reference; one that does not is a warning."""

from __future__ import annotations

import importlib
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

import tinygrad_effnet

logger = logging.getLogger(__name__)

PACKAGE = "tinygrad_effnet"
MODULES = (
    *("", "backends", "memory", "nn", "nn.init", "ops", "optim"),
    *(*tinygrad_effnet._LAZY, "training.checks", "training.report"),
)


def public_names() -> dict[str, Any]:
    """What users can import: ``__all__`` of each public module, or what it names itself without an underscore."""
    found: dict[str, Any] = {}
    for short in MODULES:
        module = importlib.import_module(f"{PACKAGE}.{short}".rstrip("."))
        for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
            thing = getattr(module, name)
            home = str(getattr(thing, "__module__", ""))
            # a module without __all__ has its own names; what it imports is another's, but for the package's first page
            own = home.startswith(PACKAGE) if short == "" or hasattr(module, "__all__") else home == module.__name__
            if own and callable(thing):
                found[f"{module.__name__}.{name}"] = thing
    return found


def missing(documented: set[str]) -> list[str]:
    """Public names that the reference has neither where they are imported from nor where they are defined."""
    return [
        name
        for name, thing in public_names().items()
        if name not in documented
        and f"{thing.__module__}.{getattr(thing, '__qualname__', '')}" not in documented
        and not any(thing is _resolve(other) for other in documented if other.endswith(f".{name.rpartition('.')[2]}"))
    ]


def _resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:  # a member of a class
        return None


def _check(app: Sphinx, env: BuildEnvironment) -> None:
    for name in missing(set(env.domains["py"].data["objects"])):
        logger.warning("%s is public and not in the reference: add it to docs/api.md", name, location="api")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("env-check-consistency", _check)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
