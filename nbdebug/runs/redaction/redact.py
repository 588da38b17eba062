"""Redaction of passwords, keys and tokens in texts."""

from __future__ import annotations

import ast
import base64
import re
import warnings
from collections.abc import Callable

from nbdebug.runs.redaction.formats import BODY, KNOWN, PRIVATE, PUTTY
from nbdebug.runs.redaction.names import (
    DOTTED,
    MASK,
    NO_SECRET_NAME,
    REFERENCE,
    SECRET_HINT,
    is_jumbled,
    is_mixed,
    is_random,
    is_secret,
    mask,
    secret_kind,
)
from nbdebug.runs.redaction.prose import redact_sentences, redact_settings
from nbdebug.runs.redaction.strings import redact_strings

# Addresses: https://user:...@host, https://...@host, ?token=...
ADDRESS = re.compile(r"(?P<lead>://[^\s/:@\"'`\\]*+:)(?P<value>[^\s/\"'`\\]+)(?=@)")
ALONE = re.compile(r"(?P<lead>://)(?P<value>[^\s/:@\"'`\\]{16,})(?=(?::x-oauth-basic)?@)")
QUERY = re.compile(r"(?P<lead>[?&;](?P<name>[\w.\-]{1,60})=)(?P<value>[^\s\"'`<>{}()\\&#;,$]++)")
# In a program `;` separates statements.
URL_QUERY = re.compile(QUERY.pattern.replace("[?&;]", "[?&]"))
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
    r"^[+\-]?[ \t]*(?:#+[ \t]*)?(?:!|\$[ ]|%(?:set_)?env\b|%(?:sx|system|run|pip|conda|bash|sh"
    r"|alias)\b"
    r"|(?:export|set|setx|env|ENV|ARG|curl|wget|docker|git|wandb|huggingface-cli|hf|kaggle|comet"
    r"|mlflow|pip3?|python3?|ssh\w*|mysql|aws|gcloud|az|sudo|kubectl|helm|psql|redis-cli"
    r"|unzip|7za?|openssl|gpg|rclone|smbclient|sshpass|http|twine|conda|echo|dotenv|heroku|vault|databricks|snowsql)"
    r"[ \t]+(?![-+*/%|&^:<>=]?=)).*",
    re.MULTILINE,
)
SCRIPT = re.compile(r"\s*%%(?:bash|sh|script|cmd|powershell|!)")
WORD = r"""[^\s"'`;|&<>()]"""
GIVEN = re.compile(
    rf"(?P<lead>(?<![\w.\-])(?:--from-literal=|--?)?(?P<name>[\w.\-]++)=)(?P<value>{WORD}++)"
)
OPTION = re.compile(
    rf"(?P<lead>(?<![\w.\-])--?(?P<name>[A-Za-z][\w\-]*+)[ \t]++)(?P<value>(?!-){WORD}++)"
)
ENV = re.compile(r"(?P<lead>%(?:set_)?env[ \t]+(?P<name>\w+)(?:[ \t]*=)?[ \t]*)(?P<value>[^\s=].*)")
LOGIN = re.compile(
    rf"(?P<lead>\b(?:login|(?:add-)?authtoken)\b.{{0,160}}?[ \t])(?P<value>(?!-){WORD}{{16,}}+)"
)
# Options of one letter, and other places in which a tool takes a password.
SHORT_OPTION = re.compile(
    rf"(?P<lead>\b(?:login\b.{{0,160}}?|sshpass)[ \t]-p[ \t]*[\"']?"
    r"|\b(?:mysql\w*|mariadb|7za?)\b.{0,160}?[ \t]-p[\"']?"
    r"|\b(?:redis-cli)\b.{0,160}?[ \t]-a[ \t]*[\"']?"
    r"|\b(?:un)?zip\b.{0,160}?[ \t]-P[ \t]*[\"']?"
    r"|\bopenssl\b.{0,160}?[ \t]-pass(?:in|out)?[ \t]+pass:"
    r"|\b(?:ldap\w+)\b.{0,160}?[ \t]-w[ \t]*[\"']?"
    r"|\bsmbclient\b.{0,160}?[ \t]-U[ \t]*[\w.@-]{1,60}%"
    r"|\bhttps?\b.{0,160}?[ \t]-a[ \t]*[\w.@-]{1,60}:"
    r"|\bconfigure[ \t]+set[ \t]+\w*(?:secret|token|key)\w*[ \t]+)"
    rf"(?P<value>(?!-){WORD}+)"
)
PIPED = re.compile(
    r"(?P<lead>\becho[ \t]+(?:-n[ \t]+)?[\"']?)(?P<value>[^\s\"'|]{6,})"
    r"(?=[\"']?[ \t]*\|[^\n|]*(?:--?\w*(?:pass|stdin|token)|login|sudo[ \t]+-S))"
)
# `def get_password(): return "..."`.
RETURNED = re.compile(
    r"(?P<lead>\bdef[ \t]+(?:get_|load_|read_|my_)?(?P<name>\w{1,60})"
    r"\([^()\n]{0,200}\)[^\n:\"']{0,80}:\s{1,40}return[ \t]+[rbf]?"
    r"(?P<quote>[\"']))(?P<value>[^\"'\\\n]+)(?=(?P=quote))"
)
MATCHED = re.compile(
    r"(?P<lead>\bmatch[ \t]+(?P<name>[\w.]{1,60}):\s{1,40}case[ \t]+[\"'])(?P<value>[^\"'\\\n]+)"
)
# `pin = 4711`: in quotes, the program stays one.
NUMBER = re.compile(
    r"(?P<lead>(?<![\w.])(?P<name>[^\W\d]\w{0,60})[ \t]*=[ \t]*)(?P<value>\d{4,})(?![\w.])"
)
ATTRIBUTES = re.compile(
    r"(?P<lead><[^<>\n]{1,80}?\b(?:key|name|type|id)=[\"'](?P<name>[\w.\-]{1,60})[\"'][ \t]+"
    r"value=[\"'])(?P<value>[^\"'\n]+)"
)
CONDA = re.compile(r"(?P<lead>://[^\s/]*conda[^\s/]*/t/)(?P<value>[\w-]{16,})")
# Of Docker's settings: user and password.
DOCKER = re.compile(
    r"(?P<lead>[\"']auth[\"'][ ]?:[ ]?[\"'])(?P<value>[A-Za-z0-9+/]{8,}={0,2})(?=[\"'])"
)
NPMRC = re.compile(r"(?P<lead>:_(?:authToken|auth|password)=)(?P<value>[^\s\"']{8,})")
# Lines of a settings file: NAME=..., `name: ...`.
SETTING = re.compile(
    r"^(?P<lead>[+\-]?[ \t]*(?:#[ \t]*)?(?:export[ \t]+)?(?P<name>[A-Z][A-Z0-9_]*+)=)"
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
# A file of settings: written by a cell, or with the heading of a section.
FILE = re.compile(r"\s*(?:%%(?:writefile|file)\b(?!.*\.py\s)|\[[\w. -]+\][ \t]*\n)")
SECTION = re.compile(r"(?<=[\"']{3})[ \t]*\n[ \t]*\[[\w. -]+\][ \t]*\n[^\"']*")
XML = re.compile(r"(?P<lead><(?P<name>[\w.\-]{1,60})>)(?P<value>[^<>\s]++)(?=</)")
SIGNED = re.compile(r"(?P<lead>[?&;](?:\w+-)*(?i:sig|signature)=)(?P<value>[\w%+/=~.-]{16,})")

# Lines of IPython in a program.
OTHER_CELL = re.compile(r"\s*%%(?!time|capture|prun|nbd)")
MAGIC = re.compile(r"^([ \t]*)[!%?][^\n]*", re.MULTILINE)

Judge = Callable[[re.Match[str]], bool]


def redact(text: str) -> str:
    """Replace passwords, keys and tokens in a text by `***`; the number of lines stays.

    Secrets are recognised by their format, by their name (`password = "..."`, `--token ...`,
    `https://user:...@host`, `the token is ...`), or as a literal of random characters. The signs
    of a diff are kept, and a program stays one. A short secret in an unknown format under a
    neutral name is not recognised.
    """
    found = _redacted(text)
    if found == text or not _is_program(text) or _is_program(found):
        return found
    # A value without quotes, as in a file of settings, stood in a program.
    return _redacted(text, quoted=True)


def redact_prose(text: str) -> str:
    """Redact a text that is no program: a note, a reason, the repr of a module, an error."""
    found = redact_settings(redact(text))
    return MASK if found == text and text.count(" ") == 0 and is_jumbled(text, 24) else found


def _is_program(text: str) -> bool:
    if OTHER_CELL.match(text):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(MAGIC.sub(r"\g<1>pass", text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _redacted(text: str, quoted: bool = False) -> str:
    """The redacted text.

    Args:
        quoted: put the masks of values without quotes into quotes.
    """
    text = PRIVATE.sub(lambda m: mask(m[0]) if BODY.search(m[0]) else m[0], text)
    text = PUTTY.sub(lambda m: mask(m[0]), text)
    text = KNOWN.sub(MASK, text)
    for pattern in (ADDRESS, ALONE, URL_QUERY if quoted else QUERY, SIGNED, CONDA, DOCKER):
        text = _redact_matches(pattern, text)
    if not SECRET_HINT.search(text):
        return redact_strings(text)
    for pattern in LINES:
        text = _redact_matches(pattern, text, quoted and pattern in BARE)
    if FILE.match(text):
        text = _redact_matches(INI, text, quoted)
    text = SECTION.sub(lambda m: _redact_matches(INI, m[0]), text)
    text = (
        _redact_shell(text)
        if SCRIPT.match(text)
        else SHELL.sub(lambda m: _redact_shell(m[0]), text)
    )
    return redact_strings(redact_sentences(text))


def _redact_shell(text: str) -> str:
    for pattern in (ENV, GIVEN, OPTION, LOGIN, SHORT_OPTION, PIPED):
        text = _redact_matches(pattern, text)
    return text


def _redact_matches(pattern: re.Pattern[str], text: str, quoted: bool = False) -> str:
    """Mask the values that a pattern finds and its judge takes for secret."""
    judge = JUDGES[pattern]
    new = _quoted if quoted or pattern is NUMBER else mask
    return pattern.sub(
        lambda found: found["lead"] + new(found["value"]) if judge(found) else found[0], text
    )


def _quoted(value: str) -> str:
    return f'"{mask(value)}"'


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
    if is_jumbled(found["value"], 24) and not NO_SECRET_NAME.search(found["name"]):
        return True
    return _has_secret_name(found) and not DOTTED.fullmatch(found["value"])


def _is_secret_in_yaml(found: re.Match[str]) -> bool:
    # `token: torch.Tensor` and `password: SecretStr` are annotations.
    value = found["value"]
    told = secret_kind(found["name"]) == "password" or is_mixed(value)
    return told and _is_secret_setting(found) and not (value.isalpha() and value[0].isupper())


def _is_login(found: re.Match[str]) -> bool:
    """True for `user:password` in Base64."""
    try:
        return b":" in base64.b64decode(found["value"], validate=True)
    except ValueError:
        return False


JUDGES: dict[re.Pattern[str], Judge] = {
    ADDRESS: _is_literal,
    ALONE: _looks_random,
    QUERY: _has_secret_name,
    URL_QUERY: _has_secret_name,
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
    PIPED: _is_literal,
    RETURNED: _has_secret_name,
    MATCHED: _has_secret_name,
    NUMBER: _has_secret_name,
    ATTRIBUTES: _has_secret_name,
    CONDA: _has_letters_and_digits,
    DOCKER: _is_login,
    NPMRC: _is_literal,
}
# Values without quotes.
BARE = (SETTING, YAML)
LINES = (
    HEADER, SCHEME, NPMRC, WANDB, NETRC, USER, SETTING, YAML, XML, ATTRIBUTES, RETURNED, MATCHED,
    NUMBER,
)  # fmt: skip
