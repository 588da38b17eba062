"""Findings and checks as plain data, for other programs."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from nbdebug.core.results.findings import Findings
from nbdebug.core.results.plain import plain, thinned
from nbdebug.examples.catalogue import SICK_TRAININGS


def test_findings_are_plain_data_that_json_takes_and_that_can_be_acted_on() -> None:
    with SICK_TRAININGS["learning rate far too small"].debugger(0) as dbg:
        dbg.run(steps=250)
        told = json.loads(json.dumps(dbg.findings.to_dict(), allow_nan=False))
        first = told["findings"][0]
        assert told["schema"] == 1
        assert (first["name"], first["severity"], first["cause"]) == (
            "updates_too_small", "warning", None,
        )  # fmt: skip
        assert 0 < len(first["evidence"]) <= 12
        assert told["findings"][1]["cause"] == "updates_too_small"
        settings = next(one["settings"] for one in first["remedies"] if one["settings"])
        dbg.set(**settings)
        dbg.run(steps=1)
        assert dbg.controls["lr"] == settings["lr"]


def test_checks_are_plain_data_that_json_takes() -> None:
    with SICK_TRAININGS["a failed check"].debugger(0) as dbg:
        told = json.loads(json.dumps(dbg.check().to_dict(), allow_nan=False))
        assert told["causes"][0] == "output_activation"
        by_name = {one["name"]: one for one in told["checks"]}
        assert by_name["output_activation"]["status"] == "fail"
        assert set(by_name["output_activation"]) == {
            "name", "title", "step", "status", "seen", "expected", "remedy", "why", "source",
            "seconds", "at", "cause", "settings",
        }  # fmt: skip


def test_nothing_is_plain_too() -> None:
    assert json.dumps(Findings().to_dict())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (math.nan, None), (-math.inf, None), ((1, 2.5), [1, 2.5]), (np.float32(0.5), 0.5),
        (torch.tensor(3), 3), ({"a": (True, None)}, {"a": [True, None]}), (1j, "1j"),
    ],
)  # fmt: skip
def test_values_become_plain(value: object, told: object) -> None:
    assert plain(value) == told


def test_evidence_is_thinned_to_twelve_numbers_with_both_ends() -> None:
    found = thinned(list(map(float, range(100))))
    assert len(found) == 12
    assert (found[0], found[-1]) == (0.0, 99.0)
    assert thinned([1.0, math.nan]) == [1.0, None]
