"""Redaction in sentences: comments, docstrings, notes, messages of errors."""

from __future__ import annotations

import re

from nbdebug.runs.redaction.names import (
    DOTTED,
    PASSWORD_WORDS,
    REFERENCE,
    is_jumbled,
    is_mixed,
    is_secret,
    mask,
    secret_kind,
)

IS = r"is|was|to|ist|war|lautet|hei[sß]t|est|es|era|[eéè]|er|je|[:=]|->|=>|→|provided:|was:|is:|of"
WORDS = (
    rf"{PASSWORD_WORDS}|pwd|pw|credentials?|tok(?:en)?|pin|otp|salt|pepper"
    r"|(?:api|access|private|secret|license|new|my|our|the)[ _-]?key"
    r"|(?:schl[üu]ssel|llave|chiave|chave|cl[ée])"
)
# `the password is ...`, `token: ...`, `used token ...`.
SENTENCE = re.compile(
    rf"(?P<lead>(?<![\w.])(?P<name>{WORDS})(?:[ ]+(?:changed|set|reset|given|provided|used|now|for"
    rf"[ ]\w+))?[ ]*(?:(?P<is>{IS})(?=[ \"'`])[ ]*)?(?<=[ =:])(?P<quote>[\"'`]?))"
    r"(?P<value>[^\s\"'`(){}<>\[\],;=*$%][^\s\"'`(){}<>\[\],;*]{3,})",
    re.IGNORECASE,
)
# `login: bob / ...`.
LOGIN = re.compile(
    r"(?P<lead>\b(?:login|user|zugang|usuario|utilisateur)\b[^\n/|]{1,40}?[ ][/|][ ])"
    r"(?P<value>[^\s\"'`(){}<>\[\],;]{6,})",
    re.IGNORECASE,
)
# In text that is no program: `token=...`.
SETTING = re.compile(
    r"(?P<lead>(?<![\w.\-])(?P<name>[^\W\d][\w.\-]*)[ ]?[=:][ ]?[\"'`]?)"
    r"(?P<value>[^\s\"'`(){}<>\[\],;=*$%][^\s\"'`(){}<>\[\],;=]*+=*+)(?![^\s\"'`)}>\],;])"
)
CONSTANT = re.compile(r"[A-Z\d_]+|None|True|False")
COMMENT = re.compile(r"#[^\n]*=[^\n]*")
NAME = re.compile(
    r"[a-z]+(?:[_-][a-z\d]+)*|[A-Z]+(?:_[A-Z\d]+)*|[\w-]+\.[a-z]{2,4}|v?\d[\d.,:%/-]*"
)


def redact_sentences(text: str) -> str:
    """Mask what a sentence calls a password, a key or a token, if it looks like one."""
    text = SENTENCE.sub(_redact_told, text)
    text = COMMENT.sub(lambda m: SETTING.sub(_redact_odd, m[0]), text)
    return LOGIN.sub(lambda m: m["lead"] + mask(m["value"]) if _odd(m["value"]) else m[0], text)


def redact_settings(text: str) -> str:
    """Mask `name=value` and `name: value` in a text that is no program."""
    return SETTING.sub(_redact_setting, text)


def _redact_told(found: re.Match[str]) -> str:
    value = found["value"].rstrip(".!?:")
    rest = found["value"][len(value) :]
    if not _odd(value, 6 if found["is"] else 10) or REFERENCE.fullmatch(value):
        return found[0]
    return found["lead"] + mask(value) + rest


def _odd(value: str, least: int = 6) -> bool:
    """True for a value that is no word, no name of a program and no number."""
    if len(value) < least or NAME.fullmatch(value) or DOTTED.fullmatch(value):
        return False
    if "/" in value or "\\" in value or "://" in value:
        return is_jumbled(value, 16)
    digits = sum(one.isdigit() for one in value)
    letters = sum(one.isalpha() for one in value)
    return is_jumbled(value, least, 0.3) or (digits > 0 and letters > 0 and _alternates(value))


def _alternates(value: str) -> bool:
    """True if digits stand between letters, or letters of both cases or signs surround them."""
    inside = re.search(r"\d[^\W\d_]", value) is not None and re.search(r"[^\W\d_]\d", value)
    mixed = any(one.isupper() for one in value) and any(one.islower() for one in value)
    return bool(inside) and (mixed or len(value) >= 10)


def _redact_odd(found: re.Match[str]) -> str:
    """Redact a comment, which may hold a line of the program: `f(token=my_token)` is a name."""
    name, value = found["name"], found["value"]
    # A line of a shell: `PGPASSWORD=word psql`.
    of_shell = name.isupper() and f"{name}={value}" in found[0] and not CONSTANT.fullmatch(value)
    return _redact_setting(found) if of_shell or _odd(value) else found[0]


def _redact_setting(found: re.Match[str]) -> str:
    kind, value = secret_kind(found["name"]), found["value"].rstrip(".!?")
    told = kind in ("password", "code", "weak") or is_mixed(value)
    if kind is None or not told or REFERENCE.fullmatch(value) or DOTTED.fullmatch(value):
        return found[0]
    if not is_secret(kind, value):
        return found[0]
    return found["lead"] + mask(value) + found["value"][len(value) :]
