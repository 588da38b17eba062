"""Parser for breakpoint conditions; conditions are never evaluated as code."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from nbdebug.errors import ArgumentError

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
TRENDS = ("rises", "falls")
TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][\w./\[\]-]*)|(?P<sign>>=|<=|==|!=|>|<|\(|\)))"
)
CONDITION_EXAMPLES = (
    "expected something like \"grad_norm > 10\", \"val_loss rises 5\" or "
    "\"step == 500 or loss > 3 and lr < 1e-3\""
)  # fmt: skip
# Of words, numbers and signs: a longer condition would nest too deeply.
MAX_TOKENS = 300
MAX_DIGITS = 9
SeriesValue = Callable[[str], float]
TrendCount = Callable[[str, str], int]


@dataclass(frozen=True)
class Comparison:
    """Comparison of a series or number with another one."""

    left: str | float
    sign: str
    right: str | float

    def holds(self, value: SeriesValue, _trend: TrendCount) -> bool:
        left, right = (value(x) if isinstance(x, str) else x for x in (self.left, self.right))
        return not (math.isnan(left) or math.isnan(right)) and COMPARISONS[self.sign](left, right)


@dataclass(frozen=True)
class Trend:
    """Condition that a series rose, or fell, `times` times in a row."""

    name: str
    direction: str
    times: int

    def holds(self, _value: SeriesValue, trend: TrendCount) -> bool:
        return trend(self.name, self.direction) >= self.times


@dataclass(frozen=True)
class BooleanOperation:
    """Two expressions joined by "and" or "or"."""

    left: Expression
    word: str
    right: Expression

    def holds(self, value: SeriesValue, trend: TrendCount) -> bool:
        first = self.left.holds(value, trend)
        second = self.right.holds(value, trend)
        return (first and second) if self.word == "and" else (first or second)


Expression = Comparison | Trend | BooleanOperation


@dataclass(frozen=True)
class Condition:
    """A parsed condition.

    Attributes:
        names: the series in the condition; trends: those whose rise or fall is counted.
    """

    text: str
    expression: Expression
    names: tuple[str, ...]
    trends: tuple[str, ...]

    def holds(self, value: SeriesValue, trend: TrendCount) -> bool:
        """Evaluate the condition.

        Args:
            value: returns the latest value of a series, NaN without one.
            trend: returns how often in a row a series "rises" or "falls".
        """
        return self.expression.holds(value, trend)


def parse(text: str) -> Condition:
    """Parse a condition.

    The syntax is `series comparison number`, where either side may be a number or a series, and
    `series rises N` or `series falls N` for N measurements in a row. Conditions are joined by
    `and`, `or` and parentheses; `and` binds tighter.

    Raises:
        ArgumentError: the text is no condition; the message names the position and gives examples.
    """
    if not isinstance(text, str):
        raise ArgumentError(
            f"A condition is a text or a function, got {text!r}; {CONDITION_EXAMPLES}."
        )
    return _Parser(text).parse()


class _Parser:
    """Recursive descent parser over the tokens of a condition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text.rstrip()):
            match = TOKEN.match(text, position)
            if match is None:
                raise self._error(position)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match[kind], match.start(kind)))
            position = match.end()
            if len(self.tokens) > MAX_TOKENS:
                raise ArgumentError(
                    f"The condition {text!r:.80} is too long: at most {MAX_TOKENS} words, numbers "
                    "and signs. Give a function of the latest values instead."
                )
        self.next = 0
        self.names: list[str] = []
        self.trends: list[str] = []

    def parse(self) -> Condition:
        expression = self._or_expression()
        if self.next < len(self.tokens):
            raise self._error(self.tokens[self.next][2])
        names, trends = tuple(dict.fromkeys(self.names)), tuple(dict.fromkeys(self.trends))
        return Condition(" ".join(self.text.split()), expression, names, trends)

    def _or_expression(self) -> Expression:
        found = self._and_expression()
        while self._accept("or"):
            found = BooleanOperation(found, "or", self._and_expression())
        return found

    def _and_expression(self) -> Expression:
        found = self._term()
        while self._accept("and"):
            found = BooleanOperation(found, "and", self._term())
        return found

    def _term(self) -> Expression:
        if self._accept("("):
            found = self._or_expression()
            if not self._accept(")"):
                raise self._error(self._position())
            return found
        left = self._operand()
        kind, word, position = self._next_token()
        if isinstance(left, str) and word in TRENDS:
            return self._trend(left, word)
        if kind != "sign" or word not in COMPARISONS:
            raise self._error(position)
        return Comparison(left, word, self._operand())

    def _trend(self, name: str, direction: str) -> Trend:
        kind, word, position = self._next_token()
        short = kind == "number" and word.isdigit() and len(word) <= MAX_DIGITS
        if not short or int(word) < 1:
            raise self._error(position)
        self.trends.append(name)
        return Trend(name, direction, int(word))

    def _operand(self) -> str | float:
        kind, word, position = self._next_token()
        if kind == "number":
            return float(word)
        if kind != "name" or word in ("and", "or", *TRENDS):
            raise self._error(position)
        self.names.append(word)
        return word

    def _next_token(self) -> tuple[str, str, int]:
        if self.next == len(self.tokens):
            raise self._error(len(self.text))
        self.next += 1
        return self.tokens[self.next - 1]

    def _accept(self, word: str) -> bool:
        if self.next < len(self.tokens) and self.tokens[self.next][1] == word:
            self.next += 1
            return True
        return False

    def _position(self) -> int:
        return self.tokens[self.next][2] if self.next < len(self.tokens) else len(self.text)

    def _error(self, position: int) -> ArgumentError:
        rest = self.text[position:].strip()
        where = f"at {rest!r:.80}" if rest else "at its end"
        return ArgumentError(
            f"The condition {self.text!r:.200} cannot be read {where}: {CONDITION_EXAMPLES}."
        )
