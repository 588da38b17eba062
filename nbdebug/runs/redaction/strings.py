"""Redaction of secret string literals in programs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbdebug.runs.redaction.content import redact_content
from nbdebug.runs.redaction.names import (
    NO_SECRET_NAME,
    SECRET_HINT,
    SecretKind,
    is_jumbled,
    is_random,
    is_secret,
    mask,
    secret_kind,
)

# An apostrophe inside of a word does not begin a string. Quotes may be escaped: a notebook is JSON
# that holds programs.
OPENING = re.compile(r"(?<!\w)[rbuf]{0,2}(?P<quote>\"{3}|'{3}|\\?[\"'])", re.IGNORECASE)
BODIES = {
    '"': re.compile(r'(?:\\(?:.|\n)|[^"\\\n])*+'),
    "'": re.compile(r"(?:\\(?:.|\n)|[^'\\\n])*+"),
    '\\"': re.compile(r'(?:\\\\\\.|\\[^"\n]|[^"\\\n])*+'),
    "\\'": re.compile(r"(?:\\\\\\.|\\[^'\n]|[^'\\\n])*+"),
}
MAX_NESTING = 4
WINDOW = 160
# May continue on the next line, which begins with a sign in a diff.
SPACE = r"(?:[ \t]|\\?\r?\n[+-]?)*+"
TYPE = r"[\w.]+(?:\[[^\[\]\n]*(?:\[[^\[\]\n]*\][^\[\]\n]*)*\])?"
OPEN = rf"(?P<open>[(\[{{]{SPACE})?"
# Text before a string: `name =`, `name: str =`, `name :`, `--name`.
NAMED = re.compile(
    rf"(?:\\[nrt])?(?<!\w)(?P<name>[^\W\d][\w.\-]*+)(?:\]|[\"'])*[ \t]*"
    rf"(?:(?::[ \t]*{TYPE}(?:[ \t]*\|[ \t]*{TYPE})*[ \t]*)?(?P<sign>[=!]=|:?=|[ ]in[ ])"
    rf"{SPACE}{OPEN}"
    rf"|(?P<colon>:)[ \t]*(?P<brace>[(\[{{]{SPACE})?)$"
)
OPTION = re.compile(r"(?<![\w-])--(?P<name>[A-Za-z][\w-]*)[ \t]+$")
# Text between two strings: `"name": `, `["name"] = `, `"name", `, `"a" + `.
KEYED = re.compile(rf"{SPACE}\]?{SPACE}(?P<sign>[=!]=|:?=|:){SPACE}{OPEN}")
PAIRED = re.compile(rf"{SPACE},{SPACE}")
JOINED = re.compile(rf"{SPACE}(?:\+{SPACE}(?:[\w.]++{SPACE}\+{SPACE})?)?")
NEXT_PART = re.compile(rf"{SPACE}\+?{SPACE}[rbuf]{{0,2}}([\"'])([^\"'\\\n]*)\1", re.IGNORECASE)
# A literal that is nothing but random characters, under a name that promises neither a hash nor an
# address.
UNNAMED = re.compile(r"(?!sha\d)[\w+/-]{24,100}={0,2}")
CALLED = re.compile(rf"(?P<callee>[\w.]*+)\({SPACE}(?:[\w.]+{SPACE},{SPACE})?$")
# The second argument is the value of the name in the first.
SETTING = re.compile(r"(?:get|getenv|pop|set|put|env|default|attr|header|option|add)$", re.I)
# All arguments are secret.
GIVEN = re.compile(
    r"(?:^|\.)(?:login|Secret(?:Str|Bytes)|(?:HTTP)?(?:Basic|Digest)Auth"
    r"|(?:set|check|verify|change|hash)_?(?:password|passwd|secret)"
    r"|set_?(?:auth|access|api|secret)_?(?:token|key))$",
    re.IGNORECASE,
)
ASSIGNED = re.compile(rf"[+\- \t]*+(?P<names>[\w., \t]++)(?::[ \t]*{TYPE}[ \t]*)?=(?!=)")
# An argument is the value of the name that the result is assigned to.
DEFAULT = re.compile(r"default|value|fallback")
WRAPS = re.compile(
    r"(?:^|\.)(?:Field|Option|Argument|Param|str|bytes|quote|(?:[ab]\d\d|url|std|un)\w*code|fromhex"
    r"|unhexlify|unquote|decrypt)$"
)
OTHERWISE = re.compile(r"\b(?:or|else)[ \t]+$")
# A docstring after a string annotation, as in `-> "Password":`.
DOCSTRING = re.compile(r"[rbuf]{0,2}(?:\"{3}|'{3})", re.IGNORECASE)
KEY = re.compile(rf"{SPACE}:(?!=)")
# Items of a group under a name, not all of which need to be secrets.
IN_GROUP: dict[SecretKind, SecretKind] = {
    "password": "password", "key": "passed", "token": "passed", "passed": "passed",
    "word": "weak", "weak": "weak", "code": "code", "phrase": "phrase",
}  # fmt: skip
BRACKETS = re.compile(r"[()\[\]{}]")
OVER = re.compile(r"\n[+-]?[^\W\d]|\n[+-]?[ \t]*\n")


def redact_strings(text: str, depth: int = 0) -> str:
    """Mask the secret string literals of a text."""
    if not depth or SECRET_HINT.search(text):
        return _Strings(text, depth).redacted()
    return text


@dataclass(frozen=True)
class _String:
    """A string literal: start and end with its quotes, and its content."""

    start: int
    end: int
    content: str
    secret: bool = False


def _letters(name: str) -> str:
    return "".join(one for one in name.lower() if one.isalnum())


class _Strings:
    """Scans the string literals of a text once, from start to end."""

    def __init__(self, text: str, depth: int) -> None:
        self._text, self._depth = text, depth
        self._last = _String(0, 0, "")
        self._seen = 0
        # Inside brackets after a name: kind of the name, and number of open brackets.
        self._group: SecretKind | None = None
        self._open = 0
        # By kind of quote, the position up to which it is known not to be closed.
        self._unclosed: dict[str, int] = {}

    def redacted(self) -> str:
        pieces: list[str] = []
        copied = position = 0
        while opening := OPENING.search(self._text, position):
            start, begin, quote = opening.start(), opening.end(), opening["quote"]
            self._leave_group(start)
            position = self._seen = begin
            if self._unclosed.get(quote, -1) >= begin:
                continue
            end = self._end(quote, begin)
            content = self._text[begin:end]
            closed = self._text.startswith(quote, end)
            after = end + len(quote) if closed else end
            secret = self._secret(start, after, content) or self._is_unnamed(start, content)
            if not secret and (len(quote) == 3 or not closed):
                # A docstring may hold programs, and an unclosed quote is not a string.
                continue
            position = self._seen = after
            self._last = _String(start, after, content, secret)
            new = mask(content) if secret else self._within(content)
            if new != content:
                pieces += [self._text[copied:begin], new]
                copied = end
        return "".join([*pieces, self._text[copied:]])

    def _end(self, quote: str, begin: int) -> int:
        """End of the content of a string; the end of the line if it is not closed."""
        if len(quote) == 3:
            end = self._text.find(quote, begin)
            if end < 0 or "\n@@ -" in self._text[begin:end]:
                end = self._text.find("\n", begin)
            return len(self._text) if end < 0 else end
        body = BODIES[quote].match(self._text, begin)
        end = begin if body is None else body.end()
        if not self._text.startswith(quote, end):
            self._unclosed[quote] = end
        return end

    def _leave_group(self, start: int) -> None:
        if not self._open:
            return
        if OVER.search(self._text, self._seen, start):
            self._open = 0
        for found in BRACKETS.finditer(self._text, self._seen, start):
            self._open += 1 if found[0] in "([{" else -1
            if self._open <= 0:
                self._open = 0
                return

    def _is_unnamed(self, start: int, content: str) -> bool:
        """True for a random literal under a name that tells nothing of it."""
        if not UNNAMED.fullmatch(content) or not is_jumbled(content, 24):
            return False
        before = self._text[max(start - WINDOW, 0) : start]
        name = re.search(r"([A-Za-z]\w*)[^\w\n]*$", before)
        return name is None or not NO_SECRET_NAME.search(name[1])

    def _whole(self, after: int, content: str) -> str:
        """Content of a string and of those that are joined to it."""
        while (part := NEXT_PART.match(self._text, after)) and len(content) < WINDOW:
            content, after = content + part[2], part.end()
        return content

    def _secret(self, start: int, after: int, content: str) -> bool:
        """True if the string is the value of a secret name."""
        last = self._last
        before = self._text[max(start - WINDOW, last.end) : start]
        if last.end and start - last.end <= WINDOW:
            if last.secret and JOINED.fullmatch(before) and (self._open or "\n" not in before):
                return True
            found = KEYED.fullmatch(before)
            if found and not (found["sign"] == ":" and DOCSTRING.match(self._text, start)):
                return self._given(last.content, found["sign"], found["open"], after, content)
            if PAIRED.fullmatch(before) and self._paired(start, content):
                return True
        if found := NAMED.search(before):
            sign = found["sign"] or found["colon"]
            opened = found["open"] or found["brace"]
            if DEFAULT.fullmatch(found["name"]):
                return self._by_way_of(start, content)
            return self._given(found["name"], sign, opened, after, content)
        if found := OPTION.search(before):
            return is_secret(secret_kind(found["name"]), content)
        found = CALLED.search(before)
        if found and GIVEN.search(found["callee"]):
            self._group, self._open = "password", 1
        elif found and WRAPS.search(found["callee"]):
            return self._by_way_of(start, content)
        if self._open:
            return not KEY.match(self._text, after) and is_secret(self._group, content)
        return self._assigned(start, before, content)

    def _by_way_of(self, start: int, content: str) -> bool:
        """True if the string is the default of a secret option or name."""
        if self._last.content.startswith("--"):
            return is_secret(secret_kind(self._last.content), content)
        head = self._head(start)
        return head is not None and is_secret(secret_kind(head["names"]), content)

    def _given(self, name: str, sign: str, opened: str | None, after: int, content: str) -> bool:
        kind = secret_kind(name)
        if secret_kind(content) is not None and _letters(name).endswith(_letters(content)):
            return False  # CLIENT_SECRET = "client_secret" is a name, not a secret.
        if opened and kind is not None:
            pair = name.lower().endswith("auth") and opened[0] == "("
            self._group, self._open = "password" if pair else IN_GROUP[kind], 1
        elif kind is not None or sign != ":" or not self._open:
            return is_secret(kind, self._whole(after, content) if kind == "weak" else content, sign)
        group: SecretKind | None = (
            "passed" if kind is None and self._group == "password" else self._group
        )
        return not KEY.match(self._text, after) and is_secret(group, content)

    def _paired(self, start: int, content: str) -> bool:
        """True if the string follows a comma and is the value of the string before it."""
        last = self._last
        kind = secret_kind(last.content)
        if not is_secret(kind, content) or content.startswith("-"):
            told = last.content.rstrip(" :=")
            if told != last.content and is_jumbled(content, 8):
                return is_secret(secret_kind(told), content)
            return kind is None and self._in_tuple(start, content)
        call = CALLED.search(self._text[max(0, last.start - WINDOW) : last.start])
        sets = call is not None and SETTING.search(call["callee"]) is not None
        telling = kind != "weak" and is_random(content)
        return sets or telling or last.content.startswith("--")

    def _in_tuple(self, start: int, content: str) -> bool:
        """True if the string belongs to a secret name in `user, password = "...", "..."`."""
        head = self._head(start)
        if head is None or "," not in head[0]:
            return False
        names = head["names"].split(",")
        index = self._text.count(",", head.end(), start)
        return index < len(names) and is_secret(secret_kind(names[index]), content)

    def _assigned(self, start: int, before: str, content: str) -> bool:
        """True if an expression with the string is assigned to a secret name."""
        otherwise = OTHERWISE.search(before) is not None and " " not in content
        if not otherwise and not is_random(content) and not is_jumbled(content):
            return False
        head = self._head(start)
        return head is not None and is_secret(secret_kind(head["names"]), content)

    def _head(self, start: int) -> re.Match[str] | None:
        """Match of the names before the `=` of the line."""
        line = self._text.rfind("\n", max(0, start - 2 * WINDOW), start) + 1
        return ASSIGNED.match(self._text, line, start)

    def _within(self, content: str) -> str:
        if self._depth >= MAX_NESTING or not SECRET_HINT.search(content):
            return content
        return redact_content(redact_strings(content, self._depth + 1))
