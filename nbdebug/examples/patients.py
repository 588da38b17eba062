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


def faults() -> tuple[str, ...]:
    """Names of the faults to choose from, one for each patient, in the order of the alphabet."""
    return tuple(sorted(name for name, _ in PATIENTS.values()))


def guess(letter: str, fault: str) -> bool:
    """Tell if a patient has a fault; the fault that it has is not told.

    Args:
        letter: from "A" to "H"; fault: one of `faults()`.

    Raises:
        ArgumentError: there is no such patient, or no such fault.
    """
    if fault not in faults():
        raise ArgumentError(unknown_name("fault", fault, faults()))
    return _planted(letter)[0] == fault


def reveal(letter: str) -> str:
    """Name and description of the fault that was planted in a patient.

    Raises:
        ArgumentError: there is no such patient.
    """
    name, _ = _planted(letter)
    return f"{name}: {SICK_TRAININGS[name].about}"


def _planted(letter: str) -> tuple[str, int]:
    if letter not in PATIENTS:
        raise ArgumentError(unknown_name("patient", letter, PATIENTS))
    return PATIENTS[letter]


def patient(letter: str) -> Debugger:
    """Train a sick network for some hundred steps, with all rules set aside.

    Nothing tells the fault: neither the dashboard nor `findings`. `diagnose` puts the rules back.

    Args:
        letter: from "A" to "H".

    Raises:
        ArgumentError: there is no such patient.
        MissingPackageError: scikit-learn is not installed.
    """
    name, steps = _planted(letter)
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
