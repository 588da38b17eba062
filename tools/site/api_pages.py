"""Pages of the API reference, for autodoc: signatures and docstrings of the live classes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbdebug
from nbdebug import errors, examples, plugins, testing
from nbdebug.core import results

TRAINERS = ("lightning", "huggingface", "skorch", "ignite", "keras", "fastai")


def _debugger() -> Iterator[str]:
    yield from _documented("nbdebug", ["Debugger"])


def _package() -> Iterator[str]:
    names = [name for name in nbdebug.__all__ if name != "Debugger" and not hasattr(errors, name)]
    yield from _documented("nbdebug", names)
    yield from _documented("nbdebug.debugger.own_loop.watch", ["Watch"])


def _errors() -> Iterator[str]:
    yield ".. automodule:: nbdebug.errors\n   :members:\n   :member-order: bysource"


def _plugins() -> Iterator[str]:
    yield from _documented("nbdebug.plugins", plugins.__all__)


def _testing() -> Iterator[str]:
    yield from _documented("nbdebug.testing", testing.__all__)


def _examples() -> Iterator[str]:
    yield from _documented("nbdebug.examples", examples.__all__)


def _integrations() -> Iterator[str]:
    for name in TRAINERS:
        yield f".. automodule:: nbdebug.integrations.{name}\n   :members: Watch"


def _results() -> Iterator[str]:
    root = "nbdebug.core.results."
    for info in pkgutil.walk_packages(results.__path__, root):
        names = ", ".join(_own_classes(info.name))
        if names and not info.ispkg:
            title = info.name.removeprefix(root)
            yield f"{title}\n{'-' * len(title)}"
            yield f".. automodule:: {info.name}\n   :members: {names}"


def _own_classes(module: str) -> list[str]:
    """Public classes that a module defines, without those that have a place of their own."""
    told = {*nbdebug.__all__, *plugins.__all__}
    found = vars(importlib.import_module(module)).items()
    return [
        name
        for name, value in found
        if isinstance(value, type) and value.__module__ == module
        and not name.startswith("_") and name not in told
    ]  # fmt: skip


# Title, first line and directives of each page.
PAGES: dict[str, tuple[str, str, Callable[[], Iterator[str]]]] = {
    "debugger": ("Debugger", "`nbdebug.Debugger`: a training and its dashboard.", _debugger),
    "package": ("nbdebug", "All other names of `import nbdebug as nbd`.", _package),
    "errors": ("Errors", "One tree: each is also a builtin error.", _errors),
    "integrations": ("Integrations", "Objects that watch a trainer.", _integrations),
    "plugins": ("Base classes of plug-ins", "Names of `nbdebug.plugins`.", _plugins),
    "testing": ("Tests of plug-ins", "Names of `nbdebug.testing`.", _testing),
    "examples": ("Examples", "Names of `nbdebug.examples`.", _examples),
    "results": ("Results", "Classes of what methods return, and what views show.", _results),
}


def write(folder: Path) -> None:
    """Write all pages of the API reference into a new folder."""
    folder.mkdir(parents=True)
    listed = [f"| [{title}]({name}.rst) | {first} |" for name, (title, first, _) in PAGES.items()]
    table = "\n".join(["| page | what is in it |", "|---|---|", *listed])
    (folder / "index.md").write_text(f"# API\n\n{table}\n", encoding="utf-8")
    for name, (title, first, directives) in PAGES.items():
        # Not in the sidebar: Sphinx would copy all names of these pages for each page.
        head = f":orphan:\n\n{title}\n{'=' * len(title)}\n\n:doc:`index` / {first}"
        text = "\n\n".join([head, *directives()]) + "\n"
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")


def _documented(module: str, names: list[str]) -> Iterator[str]:
    for name in names:
        found = getattr(importlib.import_module(module), name)
        if isinstance(found, type):
            yield f".. autoclass:: {module}.{name}\n   :members:"
        elif callable(found):
            yield f".. autofunction:: {module}.{name}"
        else:
            yield f".. py:data:: {module}.{name}\n   :type: {module}.{type(found).__name__}"
