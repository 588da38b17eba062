"""Loops in the code of a function: where they begin and end, and what they use."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterable, Iterator

LOADS = frozenset({
    "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_NAME", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF",
    "LOAD_CLOSURE", "LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
})  # fmt: skip
# Append below the iterator of a loop; to the arguments of a call, at the top of the stack.
COLLECTS = frozenset({"LIST_APPEND", "SET_ADD", "MAP_ADD"})
MAKES_ITERATOR = frozenset({"batches", "epochs"})
Span = tuple[int, int]


@functools.lru_cache(256)
def loops(code: types.CodeType) -> tuple[Span, ...]:
    """First and last instruction of the loops of code: where it jumps backwards."""
    jumps = {*dis.hasjrel, *dis.hasjabs}
    return tuple(
        (part.argval, part.offset)
        for part in dis.get_instructions(code)
        if part.opcode in jumps and part.argval < part.offset
    )


def repeats(code: types.CodeType, at: int) -> bool:
    """True if an instruction is inside of a loop."""
    return any(first <= at <= last for first, last in loops(code))


@functools.lru_cache(256)
def names_used(code: types.CodeType, at: int) -> frozenset[str]:
    """Names of variables that the innermost loop around an instruction reads; of all without one.

    Functions that are defined inside of the loop belong to it.
    """
    span = _innermost(code, at) or (0, len(code.co_code))
    return frozenset(_names(code, span))


@functools.lru_cache(256)
def attributes_used(code: types.CodeType, at: int) -> frozenset[str]:
    """Names of attributes that the innermost loop around an instruction reads."""
    first, last = _innermost(code, at) or (0, len(code.co_code))
    inside = (part for part in dis.get_instructions(code) if first <= part.offset <= last)
    return frozenset(part.argval for part in inside if part.opname in ("LOAD_ATTR", "LOAD_METHOD"))


@functools.lru_cache(256)
def names_carried(code: types.CodeType, at: int) -> frozenset[str]:
    """Names that the innermost loop around an instruction reads before it binds them."""
    span = _innermost(code, at) or (0, -1)
    read, bound = set[str](), set[str]()
    for part in dis.get_instructions(code):
        if span[0] <= part.offset <= span[1]:
            names = part.argval if isinstance(part.argval, tuple) else (part.argval,)
            if part.opname in LOADS:
                read.update(name for name in names if name not in bound)
            elif part.opname.startswith("STORE_FAST"):
                bound.update(names)
    return frozenset(read & bound)


@functools.lru_cache(256)
def raises(code: types.CodeType, at: int | None = None) -> int:
    """First line that raises or asserts in the innermost loop around an instruction, 0 without.

    Args:
        at: None for all of the code.
    """
    span = (at is not None and _innermost(code, at)) or (0, len(code.co_code))
    lines = (
        part.positions.lineno or code.co_firstlineno
        for part in dis.get_instructions(code)
        if part.opname == "RAISE_VARARGS" and span[0] <= part.offset <= span[1] and part.positions
    )
    return min(lines, default=0)


@functools.lru_cache(256)
def calls_of(code: types.CodeType, name: str) -> int:
    """Number of places in code at which an attribute of this name is read."""
    return sum(
        part.argval == name and part.opname in ("LOAD_ATTR", "LOAD_METHOD")
        for part in dis.get_instructions(code)
    )


def _names(code: types.CodeType, span: Span) -> Iterator[str]:
    for part in dis.get_instructions(code):
        if not span[0] <= part.offset <= span[1]:
            continue
        if part.opname in LOADS:
            yield from part.argval if isinstance(part.argval, tuple) else (part.argval,)
        elif isinstance(part.argval, types.CodeType):
            yield from _names(part.argval, (0, len(part.argval.co_code)))


@functools.lru_cache(256)
def hidden_progress(code: types.CodeType, at: int) -> str:
    """Say what of a loop's progress is kept where nobody can set it back; "" if nothing is.

    The iterator of a `for` loop that is at work, and the list that a comprehension collects, are
    in no variable.
    """
    parts = {part.offset: part for part in dis.get_instructions(code)}
    span = _innermost(code, at)
    # From Python 3.12 on a comprehension in the body of a loop is part of the same code.
    if span is not None and any(
        part.opname in COLLECTS and (part.arg or 0) > 1 and _innermost(code, part.offset) == span
        for part in parts.values()
    ):
        return "it collects values in a comprehension"
    direct = at in parts and parts[at].opname == "FOR_ITER"
    for first, last in loops(code):
        if direct or not first <= at <= last or not _is_for(parts, first):
            continue
        inside = (part for part in parts.values() if first <= part.offset <= last)
        # A loop that begins passes is not moved by a step.
        if not any(part.argval in MAKES_ITERATOR for part in inside if part.argval):
            return "it takes its batches by next() inside of a `for` loop over something else"
    return ""


def repeats_within(places: Iterable[tuple[types.CodeType, int]], name: str) -> bool:
    """True if a `for` loop over something else stands within one over what `name` returns.

    Args:
        places: code and instruction of the loop over batches and of its callers, from the inside.
    """
    between = [over for code, at in places for over in _iterated(code, at)][1:]
    return any(name not in over for over in between[: _last(between, name)])


def _last(between: list[frozenset[str]], name: str) -> int:
    return max((n for n, over in enumerate(between) if name in over), default=0)


@functools.lru_cache(256)
def _iterated(code: types.CodeType, at: int) -> tuple[frozenset[str], ...]:
    """Names in what the `for` loops around an instruction go through, from the inside."""
    parts = {part.offset: part for part in dis.get_instructions(code)}
    around = (first for first, last in loops(code) if first <= at <= last)
    found = []
    for first in sorted((one for one in around if _is_for(parts, one)), reverse=True):
        # What stands before GET_ITER made the object, and is all of its expression.
        made = [part for offset, part in parts.items() if offset < first][-2:][0]
        inside = (part.argval for part in parts.values() if _is_within(part, made))
        found.append(frozenset(name for name in inside if isinstance(name, str)))
    return tuple(found)


def _is_for(parts: dict[int, dis.Instruction], first: int) -> bool:
    """True if a loop that begins at an instruction is a `for` loop."""
    while first in parts and parts[first].opname == "EXTENDED_ARG":
        # The head of a long loop.
        first += 2
    return first in parts and parts[first].opname == "FOR_ITER"


def _is_within(part: dis.Instruction, whole: dis.Instruction) -> bool:
    """True if code stands in the source of other code; False where nobody knows."""
    one, other = part.positions, whole.positions
    if one is None or other is None or None in (*one, *other):
        return False
    ends = one.end_lineno, one.end_col_offset
    return bool(
        (other.lineno, other.col_offset) <= (one.lineno, one.col_offset)
        and ends <= (other.end_lineno, other.end_col_offset)
    )


def _innermost(code: types.CodeType, at: int) -> Span | None:
    around = [span for span in loops(code) if span[0] <= at <= span[1]]
    return min(around, key=lambda span: span[1] - span[0], default=None)
