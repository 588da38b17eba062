"""Patients keep their secret until they are diagnosed."""

from __future__ import annotations

import pytest

import nbdebug as nbd
from nbdebug import examples
from nbdebug.examples.patients import PATIENTS


def test_a_patient_tells_nothing_until_it_is_diagnosed() -> None:
    with examples.patient("B") as dbg:
        assert dbg.findings.summary == "No rules: nothing is judged."
        assert not dbg.history.snapshot(()).notices
        assert dbg.history.snapshot(()).findings.found == ()
        assert examples.diagnose(dbg)[0].title == "A change made the loss rise"
        assert dbg.findings[0].title == "A change made the loss rise"


@pytest.mark.parametrize("letter", ["P", "a", "", None])
def test_a_patient_that_is_not_there_is_refused(letter: str) -> None:
    with pytest.raises(nbd.ArgumentError, match="There is no patient"):
        examples.patient(letter)


def test_every_patient_is_a_sick_training_and_each_another_one() -> None:
    names = [one.fault for one in PATIENTS.values()]
    assert set(names) <= set(examples.sick())
    assert len(set(names)) == len(names)


def test_each_patient_has_one_fault_of_those_to_choose_from() -> None:
    named = examples.faults()
    assert list(named) == sorted(named)
    right = {letter: [one for one in named if examples.guess(letter, one)] for letter in PATIENTS}
    assert all(len(found) == 1 for found in right.values())
    assert sorted(found[0] for found in right.values()) == list(named)


def test_patients_are_listed_from_easy_to_hard() -> None:
    levels = list(examples.levels().values())
    assert set(examples.levels()) == set(PATIENTS)
    ranks = [("easy", "medium", "hard").index(level) for level in levels]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 3


@pytest.mark.parametrize("letter", PATIENTS)
def test_what_was_planted_is_revealed_when_asked_for(letter: str) -> None:
    told = examples.reveal(letter)
    name = next(one for one in examples.faults() if examples.guess(letter, one))
    assert told == f"{name}: {examples.sick()[name].about}"


def test_unknown_patients_and_faults_are_refused_by_name() -> None:
    with pytest.raises(nbd.ArgumentError, match="patient"):
        examples.reveal("Z")
    with pytest.raises(nbd.ArgumentError, match="patient"):
        examples.guess("Z", "deep sigmoids")
    with pytest.raises(nbd.ArgumentError, match="fault"):
        examples.guess("A", "a bad mood")
