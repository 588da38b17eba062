"""Finds the strings of a program that are given to a name which tells of a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbdebug.runs.redaction.names import (
    TELLING,
    Kind,
    is_mixed,
    is_random,
    is_secret,
    kind_of,
    mask_of,
)

# An apostrophe within a word begins no string. Quotes may be escaped: a notebook is JSON that holds
# programs.
OPENING = re.compile(r"(?<!\w)[rbuf]{0,2}(?P<quote>\"{3}|'{3}|\\?[\"'])", re.IGNORECASE)
BODIES = {
    '"': re.compile(r'(?:\\(?:.|\n)|[^"\\\n])*+'),
    "'": re.compile(r"(?:\\(?:.|\n)|[^'\\\n])*+"),
    '\\"': re.compile(r'(?:\\\\\\.|\\[^"\n]|[^"\\\n])*+'),
    "\\'": re.compile(r"(?:\\\\\\.|\\[^'\n]|[^'\\\n])*+"),
}
DEEPEST = 4
WINDOW = 160
# On the next line, too, which has a sign in a diff.
SPACE = r"(?:[ \t]|\\?\r?\n[+-]?)*+"
TYPE = r"[\w.]+(?:\[[^\[\]\n]*(?:\[[^\[\]\n]*\][^\[\]\n]*)*\])?"
OPEN = rf"(?P<open>[(\[{{]{SPACE})?"
# What stands before a string: `name =`, `name: str =`, `name :`, `--name`.
NAMED = re.compile(
    rf"(?:\\[nrt])?(?<!\w)(?P<name>[^\W\d][\w.\-]*+)(?:\]|[\"'])*[ \t]*"
    rf"(?:(?::[ \t]*{TYPE}(?:[ \t]*\|[ \t]*{TYPE})*[ \t]*)?(?P<sign>[=!]=|:?=){SPACE}{OPEN}"
    rf"|(?P<colon>:)[ \t]*(?P<brace>[(\[{{]{SPACE})?)$"
)
OPTION = re.compile(r"(?<![\w-])--(?P<name>[A-Za-z][\w-]*)[ \t]+$")
# What stands between two strings: `"name": `, `["name"] = `, `"name", `, `"a" + `.
KEYED = re.compile(rf"{SPACE}\]?{SPACE}(?P<sign>[=!]=|:?=|:){SPACE}{OPEN}")
PAIRED = re.compile(rf"{SPACE},{SPACE}")
JOINED = re.compile(rf"{SPACE}\+?{SPACE}")
CALLED = re.compile(rf"(?P<callee>[\w.]*+)\({SPACE}(?:[\w.]+{SPACE},{SPACE})?$")
# Their second argument is the value of what the first names.
SETTING = re.compile(r"(?:get|getenv|pop|set|put|env|default|attr|header|option|add)$", re.I)
# All that they are given is secret.
GIVEN = re.compile(
    r"(?:^|\.)(?:login|Secret(?:Str|Bytes)|(?:HTTP)?(?:Basic|Digest)Auth"
    r"|(?:set|check|verify|change|hash)_?(?:password|passwd|secret)"
    r"|set_?(?:auth|access|api|secret)_?(?:token|key))$",
    re.IGNORECASE,
)
ASSIGNED = re.compile(rf"[+\- \t]*+(?P<names>[\w., \t]++)(?::[ \t]*{TYPE}[ \t]*)?=(?!=)")
# What a name is given by way of them is its value.
DEFAULT = re.compile(r"default|value|fallback")
WRAPS = re.compile(r"(?:^|\.)(?:Field|Option|Argument|Param|str|bytes|quote)$")
OTHERWISE = re.compile(r"\b(?:or|else)[ \t]+$")
# It says what a function or a class is, as in `-> "Password":`.
DOCSTRING = re.compile(r"[rbuf]{0,2}(?:\"{3}|'{3})", re.IGNORECASE)
KEY = re.compile(rf"{SPACE}:(?!=)")
# Of what is listed under a name, some may be no secrets.
IN_GROUP: dict[Kind, Kind] = {
    "password": "password", "key": "passed", "token": "passed", "passed": "passed",
    "word": "weak", "weak": "weak",
}  # fmt: skip
BRACKETS = re.compile(r"[()\[\]{}]")
OVER = re.compile(r"\n[+-]?[^\W\d]|\n[+-]?[ \t]*\n")
# In a string: `token=...` of a connection, `password: ...` of a header.
ARGUMENT = re.compile(
    r"(?P<lead>(?<![\w\-])--(?P<name>[A-Za-z][\w\-]*+)[ ])(?P<value>[^\s\"'\\]++)"
)
INSIDE = re.compile(
    r"(?P<lead>(?<![\w.\-])(?P<name>[\w.\-]++)(?P<sign>[=:])[ \t]*(?:(?i:Bearer|Basic|Token)[ ])?)"
    r"(?P<value>[^\s\"'=()\[\]{},;&|<>\\]++={0,2}+)(?![(\[=.])"
)


def quoted(text: str, depth: int = 0) -> str:
    """A text in which the secret ones of its strings are masked."""
    if not TELLING.search(text):
        return text
    return _Strings(text, depth).masked()


def inside(text: str) -> str:
    """The content of a string in which values that follow a telling name are masked."""
    return ARGUMENT.sub(_argument, INSIDE.sub(_inside, text))


def _argument(found: re.Match[str]) -> str:
    # `--token is needed` says what to do.
    value = found["value"]
    secret = not (value.isalpha() or value[0] in "${") and is_secret(kind_of(found["name"]), value)
    return found["lead"] + mask_of(value) if secret else found[0]


def _inside(found: re.Match[str]) -> str:
    kind = kind_of(found["name"])
    first = found.start() == 0 or found.string[found.start() - 1] in "\n\\"
    plain = found["sign"] == ":" and not (
        is_mixed(found["value"]) or (first and kind == "password")
    )
    known = kind_of(found["value"]) is not None or found["value"].startswith(("$", "%"))
    if plain or known or not is_secret(kind, found["value"]):
        return found[0]
    return found["lead"] + mask_of(found["value"])


@dataclass(frozen=True)
class _String:
    """A string of the text: where it begins with its quotes and ends, and what is in it."""

    start: int
    end: int
    content: str
    secret: bool = False


def _letters(name: str) -> str:
    return "".join(one for one in name.lower() if one.isalnum())


class _Strings:
    """Goes through the strings of a text from its start to its end, each once."""

    def __init__(self, text: str, depth: int) -> None:
        self._text, self._depth = text, depth
        self._last = _String(0, 0, "")
        self._seen = 0
        # In brackets that were opened after a name: what it tells, and how many are open.
        self._group: Kind | None = None
        self._open = 0
        # Up to where quotes of a kind are known not to be closed.
        self._unclosed: dict[str, int] = {}

    def masked(self) -> str:
        pieces: list[str] = []
        copied = place = 0
        while opening := OPENING.search(self._text, place):
            start, begin, quote = opening.start(), opening.end(), opening["quote"]
            self._leave_group(start)
            place = self._seen = begin
            if self._unclosed.get(quote, -1) >= begin:
                continue
            end = self._end(quote, begin)
            content = self._text[begin:end]
            closed = self._text.startswith(quote, end)
            after = end + len(quote) if closed else end
            secret = self._secret(start, after, content)
            if not secret and (len(quote) == 3 or not closed):
                # A docstring may hold programs, and a quote that is not closed is none.
                continue
            place = self._seen = after
            self._last = _String(start, after, content, secret)
            new = mask_of(content) if secret else self._within(content)
            if new != content:
                pieces += [self._text[copied:begin], new]
                copied = end
        return "".join([*pieces, self._text[copied:]])

    def _end(self, quote: str, begin: int) -> int:
        """Where the content of a string ends: with the line when it is not closed."""
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

    def _secret(self, start: int, after: int, content: str) -> bool:
        """Whether the string is given to a name that tells of a secret."""
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
            return is_secret(kind_of(found["name"]), content)
        found = CALLED.search(before)
        if found and GIVEN.search(found["callee"]):
            self._group, self._open = "password", 1
        elif found and WRAPS.search(found["callee"]):
            return self._by_way_of(start, content)
        if self._open:
            return not KEY.match(self._text, after) and is_secret(self._group, content)
        return self._assigned(start, before, content)

    def _by_way_of(self, start: int, content: str) -> bool:
        """Whether it is the default of an option or of a name of that kind."""
        if self._last.content.startswith("--"):
            return is_secret(kind_of(self._last.content), content)
        head = self._head(start)
        return head is not None and is_secret(kind_of(head["names"]), content)

    def _given(self, name: str, sign: str, opened: str | None, after: int, content: str) -> bool:
        kind = kind_of(name)
        if kind_of(content) is not None and _letters(name).endswith(_letters(content)):
            return False  # CLIENT_SECRET = "client_secret" says how it is called.
        if opened and kind is not None:
            pair = name.lower().endswith("auth") and opened[0] == "("
            self._group, self._open = "password" if pair else IN_GROUP[kind], 1
        elif kind is not None or sign != ":" or not self._open:
            return is_secret(kind, content, sign)
        group: Kind | None = "passed" if kind is None and self._group == "password" else self._group
        return not KEY.match(self._text, after) and is_secret(group, content)

    def _paired(self, start: int, content: str) -> bool:
        """Whether it stands after a comma as the value of the string before it."""
        last = self._last
        kind = kind_of(last.content)
        if not is_secret(kind, content) or content.startswith("-"):
            return kind is None and self._in_tuple(start, content)
        call = CALLED.search(self._text[max(0, last.start - WINDOW) : last.start])
        sets = call is not None and SETTING.search(call["callee"]) is not None
        telling = kind != "weak" and is_random(content)
        return sets or telling or last.content.startswith("--")

    def _in_tuple(self, start: int, content: str) -> bool:
        """Whether it is the second of `user, password = "...", "..."`, or a later one."""
        head = self._head(start)
        if head is None or "," not in head[0]:
            return False
        names = head["names"].split(",")
        place = self._text.count(",", head.end(), start)
        return place < len(names) and is_secret(kind_of(names[place]), content)

    def _assigned(self, start: int, before: str, content: str) -> bool:
        """Whether something else is made of it that goes to such a name."""
        otherwise = OTHERWISE.search(before) is not None and " " not in content
        if not otherwise and not is_random(content):
            return False
        head = self._head(start)
        return head is not None and is_secret(kind_of(head["names"]), content)

    def _head(self, start: int) -> re.Match[str] | None:
        """What stands before the `=` of the line."""
        line = self._text.rfind("\n", max(0, start - 2 * WINDOW), start) + 1
        return ASSIGNED.match(self._text, line, start)

    def _within(self, content: str) -> str:
        if self._depth >= DEEPEST or not TELLING.search(content):
            return content
        return inside(quoted(content, self._depth + 1))
