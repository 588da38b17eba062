"""Redaction of passwords, keys and tokens in texts."""

from __future__ import annotations

import re
from collections.abc import Callable

from nbdebug.runs.redaction.names import (
    DOTTED,
    MASK,
    REFERENCE,
    SECRET_HINT,
    is_mixed,
    is_random,
    is_secret,
    mask,
    secret_kind,
)
from nbdebug.runs.redaction.strings import redact_strings

# Formats of service keys, as the services document them.
SERVICES = r"""
hf_[A-Za-z0-9]{16,} api_org_[A-Za-z0-9]{16,} KGAT_[A-Za-z0-9]{16,} wandb_v1_\w{16,}
gh[pousr]_[A-Za-z0-9]{16,} github_pat_\w{16,} gl(?:pat|ptt|dt|rt|cbt|soat|agent|oas|ft)-[\w-]{16,}
sk-(?:proj|ant|or|svcacct|admin|lf|None)-[\w-]{16,} sk-(?=[A-Za-z]*\d)[A-Za-z0-9]{16,}
(?:gsk|r8|fw|ntn|lin_api|phc|phx|shpat|dckr_pat)_(?=[A-Za-z]*\d)[A-Za-z0-9]{20,}
(?:xai|pplx|nvapi)-(?=[\w-]*\d)[\w-]{20,} lsv2_\w{20,} pcsk_\w{20,} tgp_v1_[\w-]{20,}
(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,} whsec_[A-Za-z0-9+/]{16,} dapi[a-f0-9]{32} dop_v1_\w{16,}
(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9]) AIza[\w-]{30,} ya29\.[\w-]{16,} GOCSPX-[\w-]{16,}
xox[abeposr]-[\w-]{10,} xapp-[\w-]{10,} hooks\.slack\.com/services/[\w/]+
discord(?:app)?\.com/api/webhooks/\d+/[\w-]+ \d{8,10}:AA[\w-]{30,}
npm_[A-Za-z0-9]{16,} pypi-AgEI[\w-]{16,} SG\.[\w-]{16,}\.[\w-]{16,} hv[sb]\.[\w-]{20,}
tskey-[\w-]{16,} AGE-SECRET-KEY-1[A-Z0-9]{16,} eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
"""
# Not inside of a longer word; the sign of a diff line and "\\n" in JSON are no part of a word.
KNOWN = re.compile(rf"(?:(?<=\\n)|(?<!\w)(?<!\w-))(?:{'|'.join(SERVICES.split())})")
ARMOUR = r"-----{} [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
PRIVATE = re.compile(
    rf"{ARMOUR.format('BEGIN')}(?:(?:(?!-----BEGIN)[^_*{{}}\[\]])*?{ARMOUR.format('END')}"
    r"|(?:[\s\\\"',+-]*[A-Za-z0-9+/=]{16,})++)"
)
BODY = re.compile(r"[A-Za-z0-9+/=]{16}")
# Addresses: https://user:...@host, https://...@host, ?token=...
ADDRESS = re.compile(r"(?P<lead>://[^\s/:@\"'`\\]*+:)(?P<value>[^\s/\"'`\\]+)(?=@)")
ALONE = re.compile(r"(?P<lead>://)(?P<value>[^\s/:@\"'`\\]{16,})(?=(?::x-oauth-basic)?@)")
QUERY = re.compile(r"(?P<lead>[?&;](?P<name>[\w.\-]{1,60})=)(?P<value>[^\s\"'`<>{}()\\&#;,$]++)")
HEADER = re.compile(
    r"(?P<lead>\bauthorization:[ ](?:bearer|basic|token|digest|apikey)[ ])"
    r"(?P<value>[\w.~+/=:-]{8,})",
    re.IGNORECASE,
)
SCHEME = re.compile(r"(?P<lead>\b(?:Bearer|Basic|Token)[ ])(?P<value>[\w.~+/=-]{12,})")
WANDB = re.compile(r"(?P<lead>\bwandb\b[^\n]{0,160}?(?<![\w@]))(?P<value>[0-9a-f]{40})(?!\w)")
NETRC = re.compile(
    r"(?P<lead>\b(?:machine\s+\S+|default)\s+login\s+\S+\s+password\s+)(?P<value>[^\s\"']+)"
)
USER = re.compile(
    r"(?P<lead>\b(?:curl|wget|http)\b[^\n]{0,160}?\s(?:-u|--user)[ =]?[\"']?[\w.@+-]{1,60}:)"
    r"(?P<value>[^\s\"']+)"
)
# Lines of a shell; in a diff they begin with a sign.
SHELL = re.compile(
    r"^[+\-]?[ \t]*(?:!|\$[ ]|%(?:set_)?env\b|%(?:sx|system|run|pip|conda|bash|sh|alias)\b"
    r"|(?:export|set|setx|env|ENV|ARG|curl|wget|docker|git|wandb|huggingface-cli|hf|kaggle|comet"
    r"|mlflow|pip3?|python3?|ssh\w*|mysql|aws|gcloud|az|sudo)[ \t]+(?![-+*/%|&^:<>=]?=)).*",
    re.MULTILINE,
)
SCRIPT = re.compile(r"\s*%%(?:bash|sh|script|cmd|powershell|!)")
WORD = r"""[^\s"'`;|&<>()]"""
GIVEN = re.compile(rf"(?P<lead>(?<![\w.\-])(?:--?)?(?P<name>[\w.\-]++)=)(?P<value>{WORD}++)")
OPTION = re.compile(
    rf"(?P<lead>(?<![\w.\-])--?(?P<name>[A-Za-z][\w\-]*+)[ \t]++)(?P<value>(?!-){WORD}++)"
)
ENV = re.compile(r"(?P<lead>%(?:set_)?env[ \t]+(?P<name>\w+)(?:[ \t]*=)?[ \t]*)(?P<value>[^\s=].*)")
LOGIN = re.compile(
    rf"(?P<lead>\b(?:login|(?:add-)?authtoken)\b.{{0,160}}?[ \t])(?P<value>(?!-){WORD}{{16,}}+)"
)
SHORT_OPTION = re.compile(
    rf"(?P<lead>\b(?:login\b.{{0,160}}?|sshpass)[ \t]-p[ \t]*|\bmysql\w*\b.{{0,160}}?[ \t]-p)"
    rf"(?P<value>{WORD}+)"
)
# Lines of a settings file: NAME=..., `name: ...`.
SETTING = re.compile(
    r"^(?P<lead>[+\-]?[ \t]*(?:#[ \t]*)?(?P<name>[A-Z][A-Z0-9_]*+)=)"
    r"(?P<value>[^\s\"'()\[\]{}=,]++)(?=[ \t]*$)",
    re.MULTILINE,
)
YAML = re.compile(
    r"^(?P<lead>[+\-]?[ \t]*(?:[-#][ \t]+)?(?P<name>[\w.\-]{1,60}):[ \t]+)"
    r"(?P<value>[^\s\"'#()\[\]{}|>&*!,][^\s\"'()\[\]{},=]*+)(?=[ \t]*$)",
    re.MULTILINE,
)

INI = re.compile(
    r"^(?P<lead>[ \t]*(?P<name>[\w.\-]{1,60})[ \t]*=[ \t]*)(?P<value>[^\s\"'=]\S*)(?=[ \t]*$)",
    re.MULTILINE,
)
FILE = re.compile(r"\s*%%(?:writefile|file)\b(?!.*\.py\s)")
XML = re.compile(r"(?P<lead><(?P<name>[\w.\-]{1,60})>)(?P<value>[^<>\s]++)(?=</)")
SIGNED = re.compile(r"(?P<lead>[?&;](?:\w+-)*(?i:sig|signature)=)(?P<value>[\w%+/=~.-]{16,})")

Judge = Callable[[re.Match[str]], bool]


def redact(text: str) -> str:
    """Replace passwords, keys and tokens in a text by `***`; the number of lines stays.

    Secrets are recognised by their format, or by their name: `password = "..."`, `--token ...`,
    `https://user:...@host`. The signs of a diff are kept. A secret in an unknown format under a
    neutral name is not recognised.
    """
    text = PRIVATE.sub(lambda m: mask(m[0]) if BODY.search(m[0]) else m[0], text)
    text = KNOWN.sub(MASK, text)
    for pattern in (ADDRESS, ALONE, QUERY, SIGNED):
        text = _redact_matches(pattern, text)
    if not SECRET_HINT.search(text):
        return text
    for pattern in (HEADER, SCHEME, WANDB, NETRC, USER, SETTING, YAML, XML):
        text = _redact_matches(pattern, text)
    if FILE.match(text):
        text = _redact_matches(INI, text)
    text = (
        _redact_shell(text)
        if SCRIPT.match(text)
        else SHELL.sub(lambda m: _redact_shell(m[0]), text)
    )
    return redact_strings(text)


def _redact_shell(text: str) -> str:
    for pattern in (ENV, GIVEN, OPTION, LOGIN, SHORT_OPTION):
        text = _redact_matches(pattern, text)
    return text


def _redact_matches(pattern: re.Pattern[str], text: str) -> str:
    """Mask the values that a pattern finds and its judge takes for secret."""
    judge = JUDGES[pattern]
    return pattern.sub(
        lambda found: found["lead"] + mask(found["value"]) if judge(found) else found[0], text
    )


def _is_literal(found: re.Match[str]) -> bool:
    """True for any value that is not a reference or a placeholder."""
    return not REFERENCE.fullmatch(found["value"]) and not found["value"].startswith("$")


def _has_secret_name(found: re.Match[str]) -> bool:
    return _is_literal(found) and is_secret(secret_kind(found["name"]), found["value"])


def _looks_random(found: re.Match[str]) -> bool:
    return is_random(found["value"])


def _has_letters_and_digits(found: re.Match[str]) -> bool:
    return is_mixed(found["value"])


def _is_secret_setting(found: re.Match[str]) -> bool:
    return _has_secret_name(found) and not DOTTED.fullmatch(found["value"])


def _is_secret_in_yaml(found: re.Match[str]) -> bool:
    # `token: torch.Tensor` and `password: SecretStr` are annotations.
    value = found["value"]
    told = secret_kind(found["name"]) == "password" or is_mixed(value)
    return told and _is_secret_setting(found) and not (value.isalpha() and value[0].isupper())


JUDGES: dict[re.Pattern[str], Judge] = {
    ADDRESS: _is_literal,
    ALONE: _looks_random,
    QUERY: _has_secret_name,
    HEADER: _is_literal,
    SCHEME: _has_letters_and_digits,
    WANDB: _is_literal,
    NETRC: _is_literal,
    USER: _is_literal,
    SETTING: _is_secret_setting,
    YAML: _is_secret_in_yaml,
    ENV: _has_secret_name,
    GIVEN: _has_secret_name,
    OPTION: _has_secret_name,
    INI: _is_secret_setting,
    XML: _has_secret_name,
    SIGNED: _is_literal,
    LOGIN: _looks_random,
    SHORT_OPTION: _is_literal,
}
