"""Sick trainings to guess at: called by a letter, with no rule that tells their fault."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

from nbdebug.core.names import unknown_name
from nbdebug.core.plugins import discover
from nbdebug.core.results.findings import Findings
from nbdebug.debugger.debugger import Debugger
from nbdebug.errors import ArgumentError, NonFiniteError
from nbdebug.examples.catalogue import SICK_TRAININGS
from nbdebug.rules.base import Rule

Level = Literal["easy", "medium", "hard"]


class Patient(NamedTuple):
    """A sick training to guess at.

    Attributes:
        fault: name of the sick training.
        steps: number of steps after which the fault shows.
        level: of difficulty in finding the fault.
    """

    fault: str
    steps: int
    level: Level


# "A" to "H" are those of the notebook "What is wrong?", "I" to "O" those of the exercises.
PATIENTS: Mapping[str, Patient] = MappingProxyType({
    "A": Patient("learning rate far too small", 300, "easy"),
    "B": Patient("learning rate turned up", 150, "easy"),
    "C": Patient("deep sigmoids", 100, "medium"),
    "D": Patient("an outlier among the samples", 200, "medium"),
    "E": Patient("dropout before BatchNorm", 200, "hard"),
    "F": Patient("clipping at 1e-4", 200, "medium"),
    "G": Patient("labels learnt by heart", 300, "medium"),
    "H": Patient("full batches and a long step", 300, "hard"),
    "I": Patient("a sample with NaN or Inf", 300, "easy"),
    "J": Patient("learning rate far too large", 200, "easy"),
    "K": Patient("a schedule of epochs at every step", 200, "medium"),
    "L": Patient("raw outputs in nll_loss", 200, "medium"),
    "M": Patient("dead layer", 200, "medium"),
    "N": Patient("dropout of 0.85", 400, "medium"),
    "O": Patient("large weights", 200, "hard"),
})  # fmt: skip


def faults() -> tuple[str, ...]:
    """Names of the faults to choose from, one for each patient, in the order of the alphabet."""
    return tuple(sorted(one.fault for one in PATIENTS.values()))


def levels() -> Mapping[str, Level]:
    """Difficulty of finding each patient's fault, by letter: the easy ones first."""
    order = get_args(Level)
    ranked = sorted(PATIENTS, key=lambda letter: order.index(PATIENTS[letter].level))
    return {letter: PATIENTS[letter].level for letter in ranked}


def guess(letter: str, fault: str) -> bool:
    """Tell if a patient has a fault; the fault that it has is not told.

    Args:
        letter: from "A" to "O"; fault: one of `faults()`.

    Raises:
        ArgumentError: there is no such patient, or no such fault.
    """
    if fault not in faults():
        raise ArgumentError(unknown_name("fault", fault, faults()))
    return _patient(letter).fault == fault


def reveal(letter: str) -> str:
    """Name and description of the fault that was planted in a patient.

    Raises:
        ArgumentError: there is no such patient.
    """
    name = _patient(letter).fault
    return f"{name}: {SICK_TRAININGS[name].about}"


def _patient(letter: str) -> Patient:
    if letter not in PATIENTS:
        raise ArgumentError(unknown_name("patient", letter, PATIENTS))
    return PATIENTS[letter]


def patient(letter: str) -> Debugger:
    """Train a sick network for some hundred steps, with all rules set aside.

    Nothing tells the fault: neither the dashboard nor `findings`. `diagnose` puts the rules back.
    A training that stops at NaN or Inf says so, as always.

    Args:
        letter: from "A" to "O".

    Raises:
        ArgumentError: there is no such patient.
        MissingPackageError: scikit-learn is not installed.
    """
    name, steps, _ = _patient(letter)
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
