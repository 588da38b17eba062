"""What begins while a model trains is no cause of parameters that never moved."""

from __future__ import annotations

import pytest

from nbdebug.core.results.findings import Finding
from nbdebug.rules._diagnosis import ordered


def found(name: str, since: int) -> Finding:
    return Finding(name, name, "warning", since, 1.0, 0.0, "seen.", "why", (), "source", ())


@pytest.mark.parametrize(("still", "diverging", "cause"), [(0, 79, ""), (200, 79, "diverging")])
def test_the_earlier_one_is_no_consequence(still: int, diverging: int, cause: str) -> None:
    known = {
        "unchanged_parameters": found("unchanged_parameters", still),
        "diverging": found("diverging", diverging),
    }
    causes = {one.name: one.cause for one in ordered(known)}
    assert causes == {"unchanged_parameters": cause, "diverging": ""}
