"""Tables of control changes show each value as it was set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import nbdebug as nbd


@pytest.mark.parametrize("second", [{"batch_size": 8}, {"clip_mode": "norm"}, {"momentum": 0.5}])
def test_values_of_several_controls_keep_their_types(
    debugger: Callable[..., nbd.Debugger], tmp_path: Path, second: dict[str, object]
) -> None:
    with debugger(runs=tmp_path / "runs.db", name="one") as dbg:
        dbg.run(steps=1)
        dbg.set(lr=0.01)
        dbg.set(**second)
        dbg.run(steps=1)
        live, recorded = dbg.changes, dbg.record.changes
        compared = nbd.compare([dbg.record], tmp_path / "runs.db").changes
    [name] = second
    old = {"batch_size": 50, "clip_mode": "off", "momentum": 0.9}[name]
    for table in (live, recorded, compared):
        assert table["new"].tolist() == [0.01, second[name]]
        assert [type(value) for value in table["new"]] == [float, type(second[name])]
        assert type(table["old"].iloc[1]) is type(old)
    assert str(second[name]) in live.iloc[1:].to_string()


def test_without_a_change_the_table_is_empty_and_has_its_columns(
    debugger: Callable[..., nbd.Debugger],
) -> None:
    with debugger() as dbg:
        assert dbg.changes.empty
        assert {"step", "old", "new", "why"} <= set(dbg.changes.columns)
