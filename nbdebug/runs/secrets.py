"""Passwords and keys do not go into the record of a run."""

from __future__ import annotations

import re

MASK = "***"
# What is known by its looks: keys of large services, signed tokens, private keys.
KNOWN = re.compile(
    r"hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|sk-[\w-]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|xox[abposr]-[\w-]{10,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|npm_[A-Za-z0-9]{16,}"
)
KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
# What is known by its name: password = "...", "api_key": '...', TOKEN=...
NAME = (
    r"[\w.\-]*(?:passwor[dt]|passwd|pwd|passphrase|secret|token|api_?key|access_?key|auth_?key"
    r"|private_?key|credential|authorization)s?"
)
QUOTED = re.compile(
    rf"(?P<name>{NAME}[\"']?\]?\s*(?::\s*\w+\s*)?[=:,]\s*[rbuf]{{0,2}})(?P<q>\"\"\"|'''|[\"'])"
    r"(?P<value>(?:\\.|(?!(?P=q)).)*)(?P=q)",
    re.IGNORECASE | re.DOTALL,
)
SHELL = re.compile(
    rf"^(?P<name>\s*(?:[%!].*?|export\s+|set\s+)?(?:--)?{NAME}[=\s]\s*)(?P<value>[^\s\"'=(]\S*)$",
    re.IGNORECASE | re.MULTILINE,
)
HEADER = re.compile(r"(?P<name>\b(?:Bearer|Basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
URL = re.compile(r"(?P<name>\b[a-z][a-z0-9+.-]*://[^\s/:@\"']*:)[^\s/@\"']+(?=@)", re.IGNORECASE)
TOKENS = re.compile(r"(?P<lead>[%!].*?--?(?:password|token|key|secret)[=\s]\s*)\S+", re.IGNORECASE)


def masked(text: str) -> str:
    """A text in which passwords, keys and tokens are `***`.

    Known by their looks, or by the name they are given: `password = "..."`, `--token ...`,
    `https://user:...@host`.
    """
    text = KEY.sub(MASK, KNOWN.sub(MASK, text))
    text = QUOTED.sub(lambda m: f"{m['name']}{m['q']}{MASK}{m['q']}", text)
    text = TOKENS.sub(lambda m: m["lead"] + MASK, text)
    text = HEADER.sub(lambda m: m["name"] + MASK, text)
    text = URL.sub(lambda m: m["name"] + MASK, text)
    return SHELL.sub(_unquoted, text)


def _unquoted(found: re.Match[str]) -> str:
    # A line of a program, `token = next(words)`, names no value.
    line = found["name"].lstrip()
    plain = line.startswith(("%", "!", "export", "set", "--")) or ("=" in line and " " not in line)
    return found["name"] + MASK if plain else found[0]
