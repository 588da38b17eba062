"""Hooks in the user's modules are registered in one place, where copies are kept free of them."""

from __future__ import annotations

from pathlib import Path

import nbdebug

PACKAGE = Path(nbdebug.__file__).parent
PLACE = "model/module/hooks.py"
CALLS = (".register_forward_hook(", ".register_forward_pre_hook(")


def test_forward_hooks_are_registered_in_one_place() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(call in path.read_text() for call in CALLS)
    }
    assert found == {PLACE}
