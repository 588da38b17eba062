"""Redaction inside the content of a string: settings, headers, options."""

from __future__ import annotations

import re

from nbdebug.runs.redaction.names import is_mixed, is_secret, mask, secret_kind

# Inside a string: `token=...` of a connection, `password: ...` of a header.
ARGUMENT = re.compile(
    r"(?P<lead>(?<![\w\-])--(?P<name>[A-Za-z][\w\-]*+)[ ])(?P<value>[^\s\"'\\]++)"
)
INSIDE = re.compile(
    r"(?P<lead>(?<![\w.\-])(?P<name>[\w.\-]++)(?P<sign>[=:])[ \t]*(?:(?i:Bearer|Basic|Token)[ ])?)"
    r"(?P<value>[^\s\"'=()\[\]{},;&|<>\\]++={0,2}+)(?![\w(\[=.])"
)


def redact_content(text: str) -> str:
    """Mask values after secret names inside the content of a string."""
    return ARGUMENT.sub(_redact_option, INSIDE.sub(_redact_assignment, text))


def _redact_option(found: re.Match[str]) -> str:
    # `--token is needed` is a sentence.
    value = found["value"]
    secret = not (value.isalpha() or value[0] in "${") and is_secret(
        secret_kind(found["name"]), value
    )
    return found["lead"] + mask(value) if secret else found[0]


def _redact_assignment(found: re.Match[str]) -> str:
    kind = secret_kind(found["name"])
    first = found.start() == 0 or found.string[found.start() - 1] in "\n\\"
    plain = found["sign"] == ":" and not (
        is_mixed(found["value"]) or (first and kind == "password")
    )
    known = secret_kind(found["value"]) is not None or found["value"].startswith(("$", "%"))
    if plain or known or not is_secret(kind, found["value"]):
        return found[0]
    return found["lead"] + mask(found["value"])
