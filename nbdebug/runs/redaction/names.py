"""Which names tell that their value is a secret, and which values can be one."""

from __future__ import annotations

import re
from typing import Literal

# password: any value is secret; key, token: any but a sentence; word: a token may be one of a text,
# too; passed: neither a word, a sentence nor a call; weak: only what looks random.
Kind = Literal["password", "key", "token", "word", "passed", "weak"]

MASK = "***"
# Found in every text that may hold a name of a secret; the rest need not be looked at closely.
TELLING = re.compile(
    r"pass|pwd|pw\b|kennwort|contrase|senha|secret|credential|token|key|auth|cookie|pat\b|sig\b"
    r"|bearer|basic\b|login|wandb|curl|wget|mysql",
    re.IGNORECASE,
)
ENDING = r"s?(?:[_.-]?value)?[_.-]?(?:\d+|prod|dev|test|stag(?:e|ing)|live|old|new)?$"
PASSWORD = re.compile(
    r"(?:passwor[dt]|passwd|passphrase|passcode|kennwort|contrase[nñ]a|senha|secret|authorization"
    r"|(?:^|[_.-])(?:pwd|pw)"
    r"|(?:db|database|user|root|admin|e?mail|smtp|ftp|ssh|pg|sql|redis|my|login|http|proxy)_?pass"
    r")" + ENDING,
    re.IGNORECASE,
)  # fmt: skip
PASSED = re.compile(r"^pass$|(?:credential|cookie)s?$", re.IGNORECASE)
OWNERS = (
    "api access auth account secret private encryption signing master subscription license app "
    "admin service storage shared host webhook session client crypto deploy write ingest wandb "
    "openai anthropic claude gemini mistral cohere hf huggingface comet neptune mlflow azure aws "
    "gcp google github gitlab kaggle replicate together groq"
)
KEY = re.compile(rf"(?:{'|'.join(OWNERS.split())})[ _.-]?key(?:[_.-]?id)?{ENDING}", re.IGNORECASE)
TOKEN = re.compile(rf"^(.*?)[ _.-]?token{ENDING}", re.IGNORECASE)
WEAK = re.compile(r"(?:^|[_.-]|(?<=[a-z])(?=K))(?:keys?|auth|pat|pass|sig|bearer)$", re.I)
# A token of a text, not of a service.
OF_TEXT = re.compile(
    r"pad|[ebs]os|unk|sep|cls|mask|special|start|end|stop|begin|image|img|audio|video|text|word"
    r"|subword|next|prev|previous|first|last|current|input|output|target|decoder|encoder|speaker"
    r"|assistant|tool|prompt|lang|language|blank|class|space|trigger|placeholder|[se]ot|oov|str"
    r"|separator|delimiter|boundary|num|max|min|per|sub|forced|suppress|added"
)
LAST_WORD = re.compile(r"(?:[A-Z][a-z\d]*|[a-z\d]+|[A-Z\d]+)$")
SERVICES = re.compile(r"(?:api|access|auth|refresh|bearer|secret)[_.-]?tokens$", re.IGNORECASE)

# What stands for a value that is elsewhere, or is none.
REFERENCE = re.compile(
    r"\$?\{[^{}]*\}|\$\([^()]*\)|<[^<>]*>|\[[^\[\]]*\]|%(?:\(\w*\))?[sdr]?|%\w+%|\*+|\.{3}|…|[xX]{3,}"
    r"|[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"
)
NO_VALUE = re.compile(
    r"none|null|nil|true|false|yes|no|str|string|int|integer|float|bool|bytes|number|object|any"
    r"|required|optional|default|password|token|secret|key|api_key|access_token|username",
    re.IGNORECASE,
)
SCHEME = re.compile(r"^(?:Bearer|Basic|Token)\s+", re.IGNORECASE)
PATH = re.compile(r"[~.]{0,2}/[\w./ -]*|[A-Za-z]:\\.*")
# What has its value elsewhere in the program.
DOTTED = re.compile(r"[a-z]\w*(?:\.[A-Za-z_]\w*)+")
FIELD = re.compile(r"\{[^{}]*\}")
WRITTEN = re.compile(r"[^\W_]")
SENTENCE = re.compile(r"\S[ \t]+\S")
RANDOM = re.compile(r"[\w+/=.~-]{16,}")
BREAKS = re.compile(r"(\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")
CHUNKS = re.compile(r"[^A-Za-z0-9]+")


def kind_of(name: str) -> Kind | None:
    """How much a name tells; None where its value may be anything."""
    # Its end says it; what is longer is no name.
    name = name.strip()[-80:]
    if PASSWORD.search(name):
        return "password"
    if KEY.search(name) or SERVICES.search(name):
        return "key"
    if PASSED.search(name):
        return "passed"
    found = TOKEN.match(name)
    if found:
        return _kind_of_token(found[1], name)
    return "weak" if WEAK.search(name) else None


def _kind_of_token(before: str, name: str) -> Kind | None:
    last = LAST_WORD.search(before)
    if last is not None and OF_TEXT.fullmatch(last[0].lower()):
        return None
    if name.lower().endswith("tokens"):
        return "weak"
    return "token" if before.strip("_.-") else "word"


def is_secret(kind: Kind | None, value: str, sign: str = "=") -> bool:
    """Whether a value of such a name is to be masked.

    Args:
        sign: what stands between name and value.
    """
    value = SCHEME.sub("", value).strip()
    # Of f"{user}:{password}" nothing is written there.
    if kind is None or REFERENCE.fullmatch(value) or not WRITTEN.search(FIELD.sub("", value)):
        return False
    if NO_VALUE.fullmatch(value):
        return False
    if kind == "password":
        return not PATH.fullmatch(value)
    if kind == "weak":
        return is_random(value)
    if kind == "passed":
        told = "=" in value or not SENTENCE.search(value)
        return told and is_mixed(value) and "(" not in value
    if SENTENCE.search(value) or (kind != "key" and len(value) < 3):
        return False
    of_text = kind == "word" and sign != "=" and value.isalpha() and len(value) < 8
    return not of_text


def is_random(value: str) -> bool:
    """Whether a value looks like one that a machine made up."""
    if not RANDOM.fullmatch(value):
        return False
    longest = max(CHUNKS.split(value), key=len)
    digits = sum(one.isdigit() for one in longest)
    return len(longest) >= 16 and digits >= 2 and len(longest) - digits >= 2


def is_mixed(value: str) -> bool:
    """Whether a value is no plain word: it has letters and digits, or is very long."""
    mixed = any(one.isdigit() for one in value) and any(one.isalpha() for one in value)
    return mixed or len(value) >= 20


def mask_of(value: str) -> str:
    """What stands in place of a value: as many lines, in a diff with their signs."""
    _, *rest = BREAKS.split(value)
    signs = all(part[:1] in "+- " for part in rest[1::2])
    kept = [part if place % 2 == 0 else part[:signs] for place, part in enumerate(rest)]
    return MASK + "".join(kept)
