"""The contract of a rule, as a check that its author runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nbdebug.controls.base import Control
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.plugins import discover
from nbdebug.core.results.findings import SEVERITIES, Symptom
from nbdebug.rules.base import Rule
from nbdebug.testing.contract import require, require_class, require_name, require_text
from nbdebug.testing.snapshot import snapshot

MAX_EVIDENCE = 200
LENGTHS = (1, 2, 7, 40)


def check_rule(kind: type[Rule], controls: tuple[str, ...] = ()) -> None:
    """Check that a rule keeps its contract.

    It is documented; it fires on its first example and not on its second; it is pure; short
    series and values of 0, NaN or Inf do not make it raise; its remedies set controls that exist.

    Args:
        kind: the class.
        controls: names of controls of your own that its remedies set.

    Raises:
        PluginError: names the part that is not kept.
    """
    require_class(kind, Rule)
    require_name(kind, "nbdebug.rules", Rule)
    require_text(kind, "title", "source")
    require(
        kind.severity in SEVERITIES, f"severity must be one of {SEVERITIES}, got {kind.severity!r}."
    )
    rule = kind()
    sick, healthy = rule.examples()
    for name, given in (("first", sick), ("second", healthy)):
        lacking = [need for need in rule.needs if not _holds(given, need)]
        require(not lacking, f"The {name} example lacks series that the rule needs: {lacking}.")
    symptom = rule.diagnose(sick)
    require(symptom is not None, "The rule does not fire on its first example.")
    require(rule.diagnose(healthy) is None, "The rule fires on its second example, a healthy one.")
    if symptom is not None:
        require(repr(rule.diagnose(sick)) == repr(symptom), "The rule is not pure: asked twice, "
                "it gave two answers for the same Snapshot.")  # fmt: skip
        _check_symptom(symptom, sick, controls)
    _check_odd_series(rule, sick)


def _check_symptom(symptom: Symptom, sick: Snapshot, controls: tuple[str, ...]) -> None:
    known = {control.name for control in discover("nbdebug.controls", Control)} | set(controls)
    require(symptom.seen.endswith("."), "Symptom.seen must be a sentence that ends with '.'.")
    require(symptom.remedies, "Symptom.remedies is empty: say what to do.")
    require(0 <= symptom.since <= sick.status.step, "Symptom.since lies outside the training.")
    require(len(symptom.evidence) <= MAX_EVIDENCE, f"More than {MAX_EVIDENCE} numbers of evidence.")
    wrong = [name for remedy in symptom.remedies for name in remedy.settings if name not in known]
    require(not wrong, f"A remedy sets a control that does not exist: {', '.join(wrong)}.")


def _check_odd_series(rule: Rule, sick: Snapshot) -> None:
    for odd, what in _odd(sick):
        try:
            rule.diagnose(odd)
        except Exception as error:
            require(False, f"The rule raises {type(error).__name__} on {what}: {error}")


def _odd(sick: Snapshot) -> Iterator[tuple[Snapshot, str]]:
    """Snapshots with the same series, but short ones of odd values."""
    for length in LENGTHS:
        for value in (0.0, np.nan, np.inf, -1.0):
            made = snapshot({name: np.full(length, value) for name in sick.series})
            yield replace(made, changes=sick.changes), f"series of {length} times {value}"


def _holds(given: Snapshot, need: str) -> bool:
    if "*" not in need:
        return need in given.series
    return any(name.startswith(need.rstrip("*")) for name in given.series)
