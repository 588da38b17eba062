"""Names of metrics and parameters as the store holds them: MLflow refuses some of ours."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping

MAX_NAME_LENGTH = 250
NAME_TAG_PREFIX = "nbdebug.name."
MAX_TAG_LENGTH = 5000
PREFIX_LENGTH = 200
# Characters that MLflow takes on every system. An underscore is escaped where it would begin
# what looks like an escape.
REFUSED = re.compile(r"[^\w.\- /]|_(?=x[0-9a-f])")
REFUSED_IN_A_PATH = re.compile(r"[^\w\- ]|_(?=x[0-9a-f])")
ESCAPE = re.compile(r"_x([0-9a-f]+)_")
ESCAPE_OR_CHARACTER = re.compile(r"_x[0-9a-f]+_|.", re.DOTALL)
# Above all characters of Unicode, so that no name holds them.
EMPTY, SHORTENED = "_x110000_", "_x110001_"


def stored_name(name: str) -> str:
    """Name in the store: what MLflow refuses becomes `_x40_`, the number of the character.

    Two names never share one. A name over 250 characters is cut and ends with its hash; see
    `name_tags`.
    """
    normal = posixpath.normpath(name)
    path = normal != name or normal == "." or normal.startswith(("..", "/"))
    refused = REFUSED_IN_A_PATH if path else REFUSED
    found = refused.sub(lambda match: f"_x{ord(match[0]):x}_", name) or EMPTY
    if len(found) <= MAX_NAME_LENGTH:
        return found
    return f"{_beginning(found)}{SHORTENED}{_digest(name)}"


def name_tags(names: Iterable[str]) -> dict[str, str]:
    """Tags of a run that hold those of its names that are cut in the store."""
    return {
        NAME_TAG_PREFIX + _digest(name): name[:MAX_TAG_LENGTH]
        for name in names
        if _is_shortened(stored_name(name))
    }


def original_name(stored: str, tags: Mapping[str, str]) -> str:
    """Name that `stored_name` mapped; `tags` are those of the run."""
    if "_x" not in stored:
        return stored
    if _is_shortened(stored):
        return tags.get(NAME_TAG_PREFIX + stored.rpartition(SHORTENED)[2], stored)
    return ESCAPE.sub(_character, stored)


def _is_shortened(stored: str) -> bool:
    return SHORTENED in stored and SHORTENED in ESCAPE_OR_CHARACTER.findall(stored)


def _beginning(stored: str) -> str:
    """The first 200 characters, or fewer: no escape is cut in two."""
    end = 0
    for part in ESCAPE_OR_CHARACTER.finditer(stored):
        if part.end() > PREFIX_LENGTH:
            break
        end = part.end()
    return stored[:end]


def _character(match: re.Match[str]) -> str:
    if match[0] == EMPTY:
        return ""
    number = int(match[1], 16)
    # A name that another program wrote may only look like an escape.
    return chr(number) if number < 0x110000 else match[0]


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]
