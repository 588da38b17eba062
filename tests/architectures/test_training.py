"""Stock architectures after 200 steps: their loss has fallen, and hardly a rule fires."""

from __future__ import annotations

import pytest

from nbdebug.core.plugins import discover
from nbdebug.core.results.findings import Finding
from nbdebug.rules.base import Rule
from tests.draw import some
from tools.architectures.catalogue import ARCHITECTURES

STEPS = 200
MAX_WARNED_SHARE = 0.02
# Of each that was trained, by name.
FOUND: dict[str, list[Finding]] = {}
# Two that play against each other: the sum of their losses says nothing.
ADVERSARIES = ("GAN",)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("architectures")]


@pytest.mark.soak
@pytest.mark.parametrize("name", some(ARCHITECTURES, share=8))
def test_nothing_is_called_an_error_in(name: str) -> None:
    with ARCHITECTURES[name].debugger() as dbg:
        dbg.run(steps=STEPS)
        FOUND[name] = list(dbg.findings)
        loss = dbg.history.frame("loss")["loss"]
    assert [found.seen for found in FOUND[name] if found.severity == "error"] == []
    if name not in ADVERSARIES:
        assert loss[-20:].median() < loss[:5].median()


@pytest.mark.soak
def test_rules_hardly_warn() -> None:
    warned = [(name, f.name, f.seen) for name, found in FOUND.items() for f in found
              if f.severity == "warning"]  # fmt: skip
    rules = len(discover("nbdebug.rules", Rule))
    assert len(warned) <= MAX_WARNED_SHARE * len(FOUND) * rules, warned
