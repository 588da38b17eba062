"""The one point of redaction: every document of a record passes here before it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nbdebug.runs.redaction.names import MASK, is_secret, secret_kind
from nbdebug.runs.redaction.redact import redact, redact_prose

# Documents and fields of `code` that hold programs; all other texts are sentences.
PROGRAMS = ("cells", "source")
SOURCE_FIELDS = ("model", "loss", "diff")
MAX_CHARACTERS = 100_000
# Identifiers that nbdebug makes itself, and numbers by which a training is repeated.
OWN_FIELDS = ("key", "sha256", "initial_weights", "commit", "seed", "nbdebug", "host")


def redact_document(name: str, value: Any) -> Any:
    """Redact all texts of a document of JSON values: those of lists, names of fields included.

    Args:
        name: of the document, which tells programs from sentences.
    """
    clean = redact if name in PROGRAMS else redact_prose
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {
            clean(key) if isinstance(key, str) else key: _field(name, str(key), part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [redact_document(name, part) for part in value]
    if type(value) is tuple:
        return tuple(redact_document(name, part) for part in value)
    return value


def redact_field(key: str, value: Any) -> Any:
    """Redact a single value with a name: a tag, the name of a run."""
    return _field("", key, value)


def redact_script(program: str) -> str:
    """Redact a program, and say so under its first line."""
    found = redact(program)
    if found == program:
        return program
    title, _, rest = found.partition("\n")
    return f"{title}\n# Passwords, keys and tokens are masked: ***.\n{rest}"


def holds_secret(said: Iterable[tuple[str, str | int]]) -> bool:
    """True if one of some texts or numbers, each with a name or "", is a secret.

    Of texts without the name of a secret 100,000 characters are read.
    """
    others, left = list[str](), MAX_CHARACTERS
    for name, value in said:
        if secret_kind(name) is not None and masked_values(value, redact_field(name, value)):
            return True
        if isinstance(value, str):
            others.append(value[: max(left, 0)])
            left -= len(value)
    whole = "\n".join(others)
    return bool(masked_values(whole, redact_prose(whole)))


def _field(name: str, key: str, value: Any) -> Any:
    """Redact the value of a field, which the name of the field may call a secret."""
    if name and key in OWN_FIELDS and not isinstance(value, Mapping | list):
        return redact(value) if isinstance(value, str) else value
    if name == "code" and key in SOURCE_FIELDS:
        name = "source"
    kind = secret_kind(key)
    number = isinstance(value, int) and not isinstance(value, bool) and abs(value) > 999
    if isinstance(value, str) or (number and kind in ("password", "code")):
        return MASK if is_secret(kind, str(value)) else redact_document(name, value)
    return redact_document(name, value)


def masked_values(before: Any, after: Any) -> int:
    """Number of values that were masked between two forms of a document."""
    return max(_masks(after) - _masks(before), 0)


def _masks(value: Any) -> int:
    if isinstance(value, str):
        return value.count(MASK)
    if isinstance(value, Mapping):
        return sum(_masks(key) + _masks(part) for key, part in value.items())
    return sum(map(_masks, value)) if isinstance(value, list | tuple) else 0
