"""Names whose values are secrets, and values that can be secrets."""

from __future__ import annotations

import re
from typing import Literal

# password: any value is secret; key, token: any but a sentence; word: a token, but it may be one of
# a text; passed: any but a word, a sentence or a call; weak: only a value that looks random; code:
# any with four digits, or long with one; phrase: several words.
SecretKind = Literal["password", "key", "token", "word", "passed", "weak", "code", "phrase"]

MASK = "***"
# Words for a password, most of them of other languages.
PASSWORD_WORDS = (
    r"passwor[dt]|passwd|passphrase|passcode|kennwort|geheimnis|losungswort"
    r"|mot[ _]?de[ _]?passe|mdp|contrase[nñ]a|clave(?:_?secreta)?|senha"
    r"|palavra_?(?:passe|chave)|parola_?(?:chiave|segreta|d.?ordine)|wachtwoord|adgangskode|l[oö]senord|salasana|has[lł]o|parool|heslo|[sş]ifre"
    r"|пароль|密码|密碼|口令|パスワード|비밀번호|secret[oa]?|segret[oa]|segred[oa]"
)
# Matches every text that may hold the name of a secret; other texts need no closer search.
SECRET_HINT = re.compile(
    rf"pass|pwd|pw\b|{PASSWORD_WORDS}|credential|creds|token|key|auth|cookie|pat\b|sig\b|bearer"
    r"|basic\b|login|wandb|curl|wget|mysql|salt|pepper|otp|mfa|mnemonic|seed_?(?:phrase|words)"
    r"|recovery|backup_?code|pin\b|cvv|sess(?:ion)?_?id|\bsid\b|redis-cli|smbclient|\b7za?\b|dpkg"
    r"|phrase|unseal|sshpass|zip\b|https? -a",
    re.IGNORECASE,
)
ENDING = (
    r"s?(?:[_.-]?(?:value|b64|base64|hex|enc(?:oded|rypted)?|plain(?:text)?|bytes))?"
    r"[_.-]?(?:\d+|prod|dev|test|stag(?:e|ing)|live|old|new)?$"
)
PASSWORD_NAME = re.compile(
    rf"(?:{PASSWORD_WORDS}|authorization|password_?hash|(?:^|[_.-])(?:pwd|pw)|(?:db|user)_?pwd?"
    r"|(?:db|database|user|root|admin|e?mail|smtp|ftp|ssh|pg|sql|redis|my|login|http|proxy)_?pass"
    r"|(?:t|h)?otp_?(?:seed|secret)|(?:mfa|2fa|authenticator)_?(?:seed|secret|key)"
    r"|^bearer|unseal_?key|(?:hash|password|secret|crypto)_?(?:salt|pepper)"
    r")" + ENDING,
    re.IGNORECASE,
)  # fmt: skip
CREDENTIAL_NAME = re.compile(
    r"^(?:pass|clave|mdp)$|(?:credential|cookie|cred)s?$|(?:^|_)(?:salt|pepper|nonce_?secret)"
    + ENDING,
    re.IGNORECASE,
)
CODE_NAME = re.compile(
    r"(?:^|[_.-]|(?<=[a-z])(?=[A-Z]))(?:pin(?:_?code)?|[th]?otp|cvv|cvc|mfa_?code|"
    r"(?:access|auth|recovery|backup|security|verification|unlock)_?code|security_?answer)"
    + ENDING,
    re.IGNORECASE,
)
PHRASE_NAME = re.compile(
    r"(?:mnemonic|(?:seed|recovery|wallet|backup|secret)[ _-]?(?:phrase|words|mnemonic))" + ENDING,
    re.IGNORECASE,
)
OWNERS = (
    "api access auth account secret private encryption signing master subscription license app "
    "admin service storage shared host webhook session client crypto deploy write ingest wandb "
    "openai anthropic claude gemini mistral cohere hf huggingface comet neptune mlflow azure aws "
    "gcp google github gitlab kaggle replicate together groq hmac fernet jwt aes rsa root project "
    "vault stripe twilio sendgrid bot"
)
KEY_NAME = re.compile(
    rf"(?:{'|'.join(OWNERS.split())})[ _.-]?key(?:[_.-]?id)?{ENDING}", re.IGNORECASE
)
TOKEN_NAME = re.compile(rf"^(.*?)[ _.-]?token{ENDING}", re.IGNORECASE)
WEAK_NAME = re.compile(
    r"(?:^|[_.-]|(?<=[a-z])(?=K))(?:keys?\d*|auth|pat|pass|sig|bearer|sid)$"
    r"|sess(?:ion)?[_.-]?id$|^key_?(?:b64|base64|hex|bytes)$",
    re.IGNORECASE,
)
# Tokens of a text, not of a service.
TEXT_TOKEN = re.compile(
    r"pad|[ebs]os|unk|sep|cls|mask|special|start|end|stop|begin|image|img|audio|video|text|word"
    r"|subword|next|prev|previous|first|last|current|input|output|target|decoder|encoder|speaker"
    r"|assistant|tool|prompt|lang|language|blank|class|space|trigger|placeholder|[se]ot|oov|str"
    r"|separator|delimiter|boundary|num|max|min|per|sub|forced|suppress|added"
)
LAST_WORD = re.compile(r"(?:[A-Z][a-z\d]*|[a-z\d]+|[A-Z\d]+)$")
SERVICE_TOKENS = re.compile(
    r"(?:api|access|auth|refresh|bearer|secret)[_.-]?tokens$", re.IGNORECASE
)

# A random value of such a name is no secret.
NO_SECRET_NAME = re.compile(
    r"(?:id|hash|sha|digest|sum|tag|md5|sha\d+|uuid|guid|version|revision|commit|ref|file|path"
    r"|url|uri|link|image|img|png|data|payload|integrity|fingerprint|cursor|page|pattern"
    r"|vocab|alphabet|chars|charset|letters|symbols)s?$",
    re.IGNORECASE,
)

# Placeholders and references instead of a value.
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
# An expression whose value is elsewhere in the program.
DOTTED = re.compile(r"[a-z]\w*(?:\.[A-Za-z_]\w*)+")
FIELD = re.compile(r"\{[^{}]*\}")
LETTER_OR_DIGIT = re.compile(r"[^\W_]")
SENTENCE = re.compile(r"\S[ \t]+\S")
RANDOM = re.compile(r"[\w+/=.~-]{16,}")
JUMBLE = re.compile(r"[\w+/.~-]*+=*")
SEGMENT = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
# With the backslash of a string that goes on in the next line.
LINE_BREAKS = re.compile(r"(\\?\r?\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029])")
CHUNKS = re.compile(r"[^A-Za-z0-9]+")


def secret_kind(name: str) -> SecretKind | None:
    """Kind of secret that a name stands for; None for a name that is not one of a secret."""
    # The end of a name is decisive; longer text is no name.
    name = name.strip()[-80:]
    if PHRASE_NAME.search(name):
        return "phrase"
    if CODE_NAME.search(name):
        return "code"
    # `clave` is also the Spanish for the key of a mapping.
    if CREDENTIAL_NAME.search(name):
        return "passed"
    if PASSWORD_NAME.search(name):
        return "password"
    if KEY_NAME.search(name) or SERVICE_TOKENS.search(name):
        return "key"
    found = TOKEN_NAME.match(name)
    if found:
        return _kind_of_token(found[1], name)
    return "weak" if WEAK_NAME.search(name) else None


def _kind_of_token(before: str, name: str) -> SecretKind | None:
    last = LAST_WORD.search(before)
    if last is not None and TEXT_TOKEN.fullmatch(last[0].lower()):
        return None
    if name.lower().endswith("tokens"):
        return "weak"
    return "token" if before.strip("_.-") else "word"


def is_secret(kind: SecretKind | None, value: str, sign: str = "=") -> bool:
    """True if a value of a name of this kind is to be masked.

    Args:
        sign: text between name and value.
    """
    value = SCHEME.sub("", value).strip()
    # f"{user}:{password}" contains no literal value.
    if (
        kind is None
        or REFERENCE.fullmatch(value)
        or not LETTER_OR_DIGIT.search(FIELD.sub("", value))
    ):
        return False
    if NO_VALUE.fullmatch(value):
        return False
    if kind == "password":
        return not PATH.fullmatch(value)
    if kind == "weak":
        return is_random(value) or is_jumbled(value)
    if kind == "code":
        digits = sum(one.isdigit() for one in value)
        mixed = digits > 0 and len(value) >= 8
        return (digits >= 4 or mixed) and not SENTENCE.search(value)
    if kind == "phrase":
        return len(value.split()) >= 3 or is_mixed(value)
    if kind == "passed":
        told = "=" in value or not SENTENCE.search(value)
        return told and is_mixed(value) and "(" not in value
    if SENTENCE.search(value) or (kind != "key" and len(value) < 3):
        return False
    of_text = kind == "word" and sign != "=" and value.isalpha() and len(value) < 8
    return not of_text


def is_random(value: str) -> bool:
    """True if a value looks randomly generated."""
    if not RANDOM.fullmatch(value):
        return False
    longest = max(CHUNKS.split(value), key=len)
    digits = sum(one.isdigit() for one in longest)
    return len(longest) >= 16 and digits >= 2 and len(longest) - digits >= 2


def is_jumbled(value: str, least: int = 12, share: float = 0.42) -> bool:
    """True if small and capital letters and digits alternate as in no name.

    Args:
        least: length from which on this can be told.
        share: share of characters at which another kind of character begins.
    """
    if len(value) < least or not JUMBLE.fullmatch(value):
        return False
    kinds = (str.islower, str.isupper, str.isdigit)
    changes = sum(1 for _ in SEGMENT.finditer(value)) / len(value)
    return changes >= share and all(any(map(kind, value)) for kind in kinds)


def is_mixed(value: str) -> bool:
    """True if a value has letters and digits, or is very long: no ordinary word."""
    mixed = any(one.isdigit() for one in value) and any(one.isalpha() for one in value)
    return mixed or len(value) >= 20


def mask(value: str) -> str:
    """Mask for a value: `***` with as many line breaks, and with the signs of a diff."""
    _, *rest = LINE_BREAKS.split(value)
    signs = all(part[:1] in "+- " for part in rest[1::2])
    kept = [part if index % 2 == 0 else part[:signs] for index, part in enumerate(rest)]
    return MASK + "".join(kept)
