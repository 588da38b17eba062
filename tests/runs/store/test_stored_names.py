"""Names that MLflow refuses are mapped in the store and read back as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.runs.record.location import store_location
from nbdebug.runs.store.run_store import RunStore
from nbdebug.runs.store.stored_names import name_tags, original_name, stored_name

# Pieces that are refused, that look like escapes, or that mean something in a path.
PIECES = st.sampled_from(
    ["_", "x", "_x", "4", "40", "_x40_", "_x5f_", "_x110000_", "_x110001_", "@", "%", "/", ".",
     "..", "//", ":", " ", "a", "é", "模", "\n", "\0", "\ud83d", "😀", "-"]
)  # fmt: skip
NAMES = st.one_of(
    st.lists(PIECES, max_size=12).map("".join), st.text(max_size=20),
    st.builds(lambda part, times: part * times, st.text(min_size=1, max_size=4),
              st.integers(60, 400)),
)  # fmt: skip


@given(NAMES)
def test_every_name_is_taken_by_mlflow_and_read_back(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param

    stored = stored_name(name)

    _validate_metric_name(stored)
    _validate_param(stored, "1")
    assert len(stored) <= 250
    assert original_name(stored, name_tags([name])) == name


@given(NAMES, NAMES)
def test_two_names_never_share_one(one: str, other: str) -> None:
    assert (stored_name(one) == stored_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["loss", "val_loss", "lr/G", "top-5 acc", "pos_x", "a.b", "模型"])
def test_a_name_that_mlflow_takes_stays_as_it_is(name: str) -> None:
    assert stored_name(name) == name


WILD = ["acc@1", "IoU>50%", "", "..", "f(x)", "a" * 300, "a" * 299 + "b", "😀", "R²", "a:b"]


def test_metrics_of_any_name_are_listed_under_it(
    debugger: Callable[..., Debugger], place: Path
) -> None:
    def accuracy(outputs: object, targets: object) -> float:
        return 0.5

    dbg = debugger(name="wild", metrics={name: accuracy for name in WILD if name})
    dbg.run(steps=6)
    dbg.close()

    assert not dbg.history.notices
    table = nbd.runs(place)
    assert table["status"].tolist() == ["finished"]
    assert [table[name].tolist() for name in WILD if name] == [[0.5]] * (len(WILD) - 1)
    assert nbd.load_run("wild", place)["acc@1"].last[-1] == 0.5


def test_parameters_of_any_name_and_number_are_listed(place: Path) -> None:
    location = store_location(place)
    assert location is not None
    store = RunStore(location).store
    wanted = {name: str(number) for number, name in enumerate(WILD)}
    wanted |= {f"p{number}": "1" for number in range(150)}

    store.begin("beef", "many", 1e9, wanted)

    (row,) = store.rows()
    assert row.parameters == wanted
