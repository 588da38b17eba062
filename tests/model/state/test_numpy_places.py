"""NumPy's global random state is read and set in one place, which knows what it was last."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "nbdebug"


def test_no_other_module_gets_or_sets_it() -> None:
    found = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if "random.get_state()" in path.read_text() or "random.set_state(" in path.read_text()
    }
    # The check of seeds compares states and sets none.
    assert found == {"numpy_generator.py", "reseeding.py"}
