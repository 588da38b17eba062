from __future__ import annotations

import nbdebug


def test_public_names_are_sorted_and_exist() -> None:
    assert list(nbdebug.__all__) == sorted(nbdebug.__all__)
    assert [name for name in nbdebug.__all__ if not hasattr(nbdebug, name)] == []
    assert set(nbdebug.__all__) <= set(dir(nbdebug))


def test_public_names_hold_what_the_readme_uses() -> None:
    assert {"Debugger", "NbdebugError", "ControlValueError"} <= set(nbdebug.__all__)


def test_public_objects_are_documented() -> None:
    assert [name for name in nbdebug.__all__ if not getattr(nbdebug, name).__doc__] == []
