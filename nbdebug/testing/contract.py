"""Parts that the contracts of all kinds of plug-ins share."""

from __future__ import annotations

import inspect
from typing import Any

from nbdebug.core.plugins import discover
from nbdebug.errors import PluginError


def require(kept: object, broken: str) -> None:
    """Raise PluginError with the sentence `broken` unless `kept` is true."""
    if not kept:
        raise PluginError(broken)


def require_class(kind: type, base: type) -> None:
    """Raise PluginError unless `kind` is a concrete subclass of `base` with a docstring."""
    name = getattr(kind, "__name__", repr(kind))
    require(
        inspect.isclass(kind) and issubclass(kind, base),
        f"{name} is no subclass of {base.__name__}.",
    )
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    require(not missing, f"{name} does not implement {', '.join(missing)}.")
    first = (kind.__doc__ or "").strip().partition("\n")[0]
    require(first, f"{name} has no docstring; its first line is what users read.")
    require(
        first.endswith((".", ":")), f"The first line of the docstring of {name} must end with '.'."
    )


def require_name(kind: type, package: str, base: type[Any]) -> None:
    """Raise PluginError unless the plug-in has a name of its own, fit for an identifier."""
    name = getattr(kind, "name", None)
    require(
        isinstance(name, str) and name.isidentifier() and name == name.lower(),
        f"name must be a lower-case identifier, got {name!r}.",
    )
    taken = {getattr(one, "name", "") for one in discover(package, base) if one is not kind}
    require(
        name not in taken,
        f"There is another {base.__name__.lower()} with the name {name!r}.",
    )


def require_text(kind: type, *attributes: str) -> None:
    """Raise PluginError unless these attributes are strings with something in them."""
    for attribute in attributes:
        value = getattr(kind, attribute, "")
        require(isinstance(value, str) and value, f"{kind.__name__}.{attribute} is missing.")
