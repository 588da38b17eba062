"""Sick trainings to guess at: called by a letter, with no rule that tells their fault."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import MappingProxyType

from nbdebug.core.names import unknown_name
from nbdebug.core.plugins import discover
from nbdebug.core.results.findings import Findings
from nbdebug.debugger.debugger import Debugger
from nbdebug.errors import ArgumentError, NonFiniteError
from nbdebug.examples.catalogue import SICK_TRAININGS
from nbdebug.rules.base import Rule

# The name of the fault, and the number of steps after which it shows.
PATIENTS: Mapping[str, tuple[str, int]] = MappingProxyType({
    "A": ("learning rate far too small", 300),
    "B": ("learning rate turned up", 150),
    "C": ("deep sigmoids", 100),
    "D": ("an outlier among the samples", 200),
    "E": ("dropout before BatchNorm", 200),
    "F": ("clipping at 1e-4", 200),
    "G": ("labels learnt by heart", 300),
    "H": ("full batches and a long step", 300),
})  # fmt: skip


def patient(letter: str) -> Debugger:
    """Train a sick network for some hundred steps, with all rules set aside.

    Nothing tells the fault: neither the dashboard nor `findings`. `diagnose` puts the rules back.

    Args:
        letter: from "A" to "H".

    Raises:
        ArgumentError: there is no such patient.
        MissingPackageError: scikit-learn is not installed.
    """
    if letter not in PATIENTS:
        raise ArgumentError(unknown_name("patient", letter, PATIENTS))
    name, steps = PATIENTS[letter]
    dbg = SICK_TRAININGS[name].debugger(seed=0)
    for rule in tuple(dbg.rules):
        dbg.rules.remove(rule.name)
    with contextlib.suppress(NonFiniteError):
        dbg.run(steps=steps)
    return dbg


def diagnose(dbg: Debugger) -> Findings:
    """Put all rules back, and return what they find; the dashboard shows it from now on."""
    for rule in discover("nbdebug.rules", Rule):
        dbg.rules.add(rule)
    return dbg.findings
