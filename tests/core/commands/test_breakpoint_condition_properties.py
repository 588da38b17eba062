"""Conditions mean what Python means by them; whatever is no condition is refused."""

from __future__ import annotations

import math
import operator

from hypothesis import given
from hypothesis import strategies as st

from nbdebug.core.commands.breakpoint_condition import Condition, parse
from nbdebug.errors import ArgumentError

# A comparison is (left, sign, right), a trend (name, direction, times), a pair (one, word, other).
Tree = tuple["Tree | str | float", str, "Tree | str | float"]
SIGNS = {
    ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
NAMES = ("loss", "grad_norm", "dead/fc1.0", "w[3]", "val-loss", "andy", "orange", "nowhere")
SIDES = st.sampled_from(NAMES) | st.floats(-1e6, 1e6).map(lambda number: round(number, 3))
COMPARISONS = st.tuples(SIDES, st.sampled_from(sorted(SIGNS)), SIDES)
TRENDS = st.tuples(st.sampled_from(NAMES), st.sampled_from(["rises", "falls"]), st.integers(1, 6))
TREES: st.SearchStrategy[Tree] = st.recursive(
    COMPARISONS | TRENDS,
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner),
    max_leaves=8,
)
VALUES = st.fixed_dictionaries(
    {name: st.sampled_from([-1.5, 0.0, 2.0, math.nan]) for name in NAMES[:-1]}
)
RUNS = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["rises", "falls"])), st.integers(0, 6)
)


def written(tree: Tree, spaces: str = " ") -> str:
    left, word, right = tree
    if word in ("and", "or"):
        # Every part in parentheses: what binds closer is another test's affair.
        return f"({written(left)}) {word} ({written(right)})"  # type: ignore[arg-type]
    if word in SIGNS:
        return f"{left}{spaces}{word}{spaces}{right}"
    return f"{left} {word} {right}"


def meant(tree: Tree, values: dict[str, float], runs: dict[tuple[str, str], int]) -> bool:
    left, word, right = tree
    if word in ("rises", "falls"):
        return runs.get((str(left), word), 0) >= int(right)  # type: ignore[arg-type]
    if word in SIGNS:
        one, other = (
            values.get(x, math.nan) if isinstance(x, str) else float(x)  # type: ignore[arg-type]
            for x in (left, right)
        )
        return not (math.isnan(one) or math.isnan(other)) and SIGNS[word](one, other)
    both = [meant(part, values, runs) for part in (left, right)]  # type: ignore[arg-type]
    return all(both) if word == "and" else any(both)


def says(condition: Condition, values: dict[str, float], runs: dict[tuple[str, str], int]) -> bool:
    return condition.holds(
        lambda name: values.get(name, math.nan), lambda name, way: runs.get((name, way), 0)
    )


@given(tree=TREES, spaces=st.sampled_from(["", " ", "  "]), values=VALUES, runs=RUNS)
def test_a_condition_holds_when_python_says_so(
    tree: Tree, spaces: str, values: dict[str, float], runs: dict[tuple[str, str], int]
) -> None:
    if tree[1] in SIGNS and isinstance(tree[0], str) and tree[0].endswith("-"):
        spaces = " "
    condition = parse(written(tree, spaces))
    assert says(condition, values, runs) == meant(tree, values, runs)
    # What it calls itself means the same.
    assert says(parse(condition.text), values, runs) == meant(tree, values, runs)


@given(
    parts=st.lists(COMPARISONS, min_size=1, max_size=5),
    words=st.lists(st.sampled_from(["and", "or"]), min_size=4, max_size=4),
    values=VALUES,
)
def test_and_binds_closer_than_or(
    parts: list[Tree], words: list[str], values: dict[str, float]
) -> None:
    text = written(parts[0])
    groups = [[meant(parts[0], values, {})]]
    for part, word in zip(parts[1:], words, strict=False):
        text += f" {word} {written(part)}"
        if word == "or":
            groups.append([])
        groups[-1].append(meant(part, values, {}))
    assert says(parse(text), values, {}) == any(all(group) for group in groups)


PIECES = st.sampled_from(
    [*NAMES, *SIGNS, "and", "or", "rises", "falls", "(", ")", "3", "1e-3", ".", "-", "=", " ", "é"]
)


@given(text=st.text(max_size=30) | st.lists(PIECES, max_size=12).map(" ".join))
def test_whatever_is_no_condition_is_refused(text: str) -> None:
    try:
        condition = parse(text)
    except ArgumentError:
        return
    # What is read is read the same once more.
    assert parse(condition.text) == condition
