"""Plug-in discovery: one class in one file of a package, or an entry point."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, EntryPoints, distributions, entry_points
from typing import Any, TypeVar

from nbdebug.core.error_text import raise_interrupt
from nbdebug.errors import PluginError

T = TypeVar("T")


def discover(
    package: str,
    base: type[T],
    on_error: Callable[[str, BaseException], None] | None = None,
    groups: tuple[str, ...] = (),
) -> tuple[type[T], ...]:
    """Return every concrete subclass of `base` that a module of `package` defines.

    Modules that begin with an underscore are helpers and are skipped. Third parties add their
    classes with an entry point in the group of the package name (`nbdebug.probes`, ...).

    Args:
        package: dotted name of the package to walk.
        base: the base class.
        groups: entry-point groups to read; () for the one that has the name of the package.
        on_error: called with the name and the exception of an entry point that cannot
            be loaded or is no subclass of `base`; None raises the exception.

    Returns:
        The classes, sorted by their `order` (0 without one), then by name.
    """
    found: list[type[T]] = []
    module = importlib.import_module(package)
    for info in pkgutil.iter_modules(module.__path__):
        if not info.name.startswith("_"):
            found += _classes(importlib.import_module(f"{package}.{info.name}"), base)
    points = _entry_points(_installed())
    for point in (p for group in groups or (package,) for p in points.select(group=group)):
        try:
            found.append(_checked(point.name, _loaded(point), base))
        except BaseException as error:
            raise_interrupt(error)
            if on_error is None:
                raise
            on_error(point.name, error)
    return tuple(sorted(found, key=_sort_key))


@lru_cache(maxsize=4)
def _entry_points(installed: object) -> Any:
    """All entry points; reading those of every installed package takes a tenth of a second."""
    try:
        return entry_points()
    except Exception:
        # A package with damaged metadata hides no other.
        return EntryPoints(point for one in distributions() for point in _points_of(one))


def _points_of(package: Distribution) -> Iterable[EntryPoint]:
    try:
        return list(package.entry_points)
    except Exception:
        return ()


def _installed() -> tuple[tuple[str, int], ...]:
    """Folders of the import path with their times, which an installation changes."""
    return tuple((folder, _changed(folder)) for folder in sys.path)


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except (OSError, ValueError):
        return 0


def plugin_names(package: str) -> frozenset[str]:
    """Return the names of all plug-ins of a package that can be loaded."""
    found = discover(package, object, lambda *_: None)
    names = (getattr(plugin, "name", None) for plugin in found)
    return frozenset(name for name in names if isinstance(name, str))


def instances(
    package: str, base: type[T], on_error: Callable[[str, BaseException], None]
) -> tuple[T, ...]:
    """Instantiate every plug-in; one that raises is reported and excluded."""
    made: list[T] = []
    for plugin in discover(package, base, on_error):
        try:
            made.append(_named(plugin()))
        except BaseException as error:
            raise_interrupt(error)
            on_error(plugin.__name__, error)
    return tuple(made)


def _named(plugin: T) -> T:
    name = getattr(plugin, "name", None)
    if not isinstance(name, str) or not name:
        raise PluginError(f'{type(plugin).__name__} has no name: expected name = "...".')
    return plugin


def _classes(module: Any, base: type[T]) -> list[type[T]]:
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value is not base
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]


def _loaded(point: EntryPoint) -> Any:
    """Load the object of an entry point.

    Raises:
        PluginError: the plug-in imports a module that this version of nbdebug does not have.
        Exception: whatever the import raised.
    """
    try:
        return point.load()
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "nbdebug":
            raise
        raise PluginError(
            f"{point.name} ({point.value}) imports {error.name}, which this version of "
            "nbdebug does not have. Import Rule, Remedy, Symptom, Probe, Control, Check, Outcome, "
            "Panel and Exporter from nbdebug.plugins, and errors from nbdebug.errors."
        ) from error


def _checked(name: str, plugin: Any, base: type[T]) -> type[T]:
    if inspect.isclass(plugin) and issubclass(plugin, base) and not inspect.isabstract(plugin):
        return plugin
    raise PluginError(f"{name} gave {plugin!r}: expected a subclass of {base.__name__}.")


def _sort_key(plugin: type) -> tuple[int, str]:
    return getattr(plugin, "order", 0), getattr(plugin, "name", plugin.__name__)
