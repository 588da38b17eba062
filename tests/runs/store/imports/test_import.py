"""Import of a run that the store knows: the longer record is kept, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbdebug as nbd
from nbdebug.core.history.history import History
from nbdebug.core.records import ControlChange, Reading, Status, StepRecord
from nbdebug.runs.record.location import StoreLocation, store_location
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.recording.recorder import Recorder
from nbdebug.runs.store.api import run_store
from nbdebug.runs.store.imports.same_run import relation
from nbdebug.runs.store.run import Run
from nbdebug.runs.store.server import family_condition


class Recorded:
    """A training that is recorded in `folder`, and its exports at different times."""

    def __init__(self, folder: Path, name: str = "mine", buckets: int = 2048) -> None:
        location = store_location(folder / "elsewhere.db")
        assert location is not None
        self.folder, self.history = folder, History(buckets)
        self.recorder = Recorder(self.history, name, {}, location, start=False)
        self.step = 0

    def train(self, steps: int, shift: float = 0.0) -> Recorded:
        for step in range(self.step, self.step + steps):
            value = np.array([np.cos(step) + shift])
            self.history.append(StepRecord(step, (Reading(("loss",), value),)))
        self.step += steps
        self.history.set_status(Status(step=self.step))
        return self

    def rewind(self, step: int) -> Recorded:
        self.history.rewind(step, self.step)
        self.step = step
        change = ControlChange(step, 0, 0.0, "timeline", None, step, "api", "", "applied")
        self.history.add_change(change)
        return self

    def export(self, name: str) -> Path:
        data = self.recorder.bundle()
        return Run(lambda: data).export(self.folder / f"{name}.zip")

    def end(self) -> RunData:
        path = self.recorder.path
        self.recorder.close(file=False)
        assert path is not None
        return run_data_of(path)


def run_data_of(path: Path) -> RunData:
    from nbdebug.runs.store.imports.run_file import read_run_file

    return read_run_file(path)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Callable[..., Recorded]]:
    made: list[Recorded] = []

    def make(**arguments: Any) -> Recorded:
        folder = tmp_path / f"training{len(made)}"
        folder.mkdir()
        made.append(Recorded(folder, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.recorder.close(file=False)


def listed(place: Path) -> list[tuple[str, int]]:
    table = nbd.runs(place)
    assert "running" not in table["status"].tolist()
    return sorted(zip(table["name"], table["steps"], strict=True))


Make = Callable[..., Recorded]


def test_an_older_export_changes_nothing(training: Make, place: Path) -> None:
    mine = training().train(50)
    early = mine.export("early")
    mine.train(40).history.add_note("important")
    late = mine.export("late")
    nbd.import_run(late, place)

    run = nbd.import_run(early, place)

    assert (run.steps, run.notes["text"].tolist()) == (90, ["important"])
    assert len(run.frame("loss")) == 90
    assert "longer record" in run.imported
    assert "90 steps" in run.imported
    assert run.imported in repr(run)
    assert listed(place) == [("mine", 90)]


def test_a_newer_export_takes_the_place_of_the_older_one(training: Make, place: Path) -> None:
    mine = training().train(50)
    first = nbd.import_run(mine.export("early"), place)
    store = run_store(place).store
    store.rename(first.id, "my own name")
    store.tag(first.id, "kept", "yes")
    mine.train(40).history.add_note("important")

    run = nbd.import_run(mine.export("late"), place)

    assert run.id == first.id
    assert "more of run 'my own name'" in run.imported
    table = nbd.runs(place)
    assert table[["name", "steps", "tag.kept"]].values.tolist() == [["my own name", 90, "yes"]]
    assert len(nbd.load_run("my own name", place).frame("loss")) == 90


def test_the_same_export_under_another_name_is_not_doubled(training: Make, place: Path) -> None:
    mine = training().train(20)
    data = mine.recorder.bundle()
    other = RunData({**data.documents, "run": {**data["run"], "name": "other"}}, data.series)
    nbd.import_run(mine.export("once"), place)

    run = nbd.import_run(Run(lambda: other).export(place.with_name("twice.zip")), place)

    assert run.name == "mine"
    assert "already, as 'mine'" in run.imported
    assert listed(place) == [("mine", 20)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_run_that_was_rewound_is_kept_both_ways(
    training: Make, place: Path, order: tuple[int, ...]
) -> None:
    mine = training().train(50)
    files = [mine.export("before")]
    mine.rewind(30).train(10, shift=0.5)
    files.append(mine.export("after"))
    mine.train(25, shift=0.5)
    files.append(mine.export("longer"))

    for at in order:
        nbd.import_run(files[at], place)
    again = [nbd.import_run(file, place).imported for file in files]

    assert [steps for _, steps in sorted(listed(place), key=lambda row: row[1])] == [50, 65]
    assert sorted({name for name, _ in listed(place)}) == ["mine", "mine (2)"]
    assert ["already" in said for said in again] == [True, False, True]
    assert "longer record" in again[1]
    for name, steps in listed(place):
        losses = nbd.load_run(name, place).frame("loss")["loss"]
        shifted = 0.5 if steps == 65 else 0.0
        assert losses.iloc[-1] == np.cos(steps - 1) + shifted


def test_two_other_runs_with_one_key_are_both_kept(training: Make, place: Path) -> None:
    one, other = training().train(20), training(name="other").train(30, shift=1.0)
    data = other.recorder.bundle()
    about = {**data["run"], "key": one.recorder.bundle()["run"]["key"]}
    nbd.import_run(one.export("one"), place)

    run = nbd.import_run(
        Run(lambda: RunData({**data.documents, "run": about}, data.series)).export(
            place.with_name("other.zip")
        ),
        place,
    )

    assert "both are kept" in run.imported
    assert listed(place) == [("mine", 20), ("other (2)", 30)]


def test_a_note_alone_makes_a_record_longer(training: Make, place: Path) -> None:
    mine = training().train(20)
    early = mine.export("early")
    mine.history.add_note("said later")
    nbd.import_run(mine.export("late"), place)

    assert nbd.import_run(early, place).notes["text"].tolist() == ["said later"]


def test_the_end_of_a_run_is_more_than_its_last_step(training: Make, place: Path) -> None:
    mine = training().train(20)
    early = mine.export("early")
    ended = mine.end()
    nbd.import_run(early, place)

    run = nbd.import_run(Run(lambda: ended).export(place.with_name("end.zip")), place)

    assert run.status == "finished"
    assert nbd.import_run(early, place).status == "finished"


@pytest.mark.parametrize("suffix", [".journal", ".journal.left"])
def test_a_journal_is_imported_like_an_export(training: Make, place: Path, suffix: str) -> None:
    mine = training().train(20)
    mine.recorder.flush()
    assert mine.recorder.path is not None
    early = place.with_name(f"moved{suffix}")
    early.write_bytes(mine.recorder.path.read_bytes())
    late = mine.train(15).export("late")

    assert nbd.import_run(early, place).steps == 20
    assert nbd.import_run(late, place).steps == 35
    assert nbd.import_run(early, place).steps == 35
    assert listed(place) == [("mine", 35)]
    assert early.exists()


def test_a_family_is_a_key_and_its_copies(place: Path) -> None:
    from mlflow import MlflowClient

    store = run_store(place).store
    for key in ("a_1", "a_1-0f", "a_1-0f-0f", "a_10", "a-1", "a"):
        store.begin(key, key, 1e9, {})

    assert sorted(row.key for row in store.family("a_1")) == ["a_1", "a_1-0f", "a_1-0f-0f"]
    # A server is asked in its own language, which takes _ for any character.
    found = MlflowClient(f"sqlite:///{place}").search_runs(
        [store.experiment], family_condition("a_1")
    )
    keys = {run.data.tags["nbdebug.key"] for run in found}
    assert keys == {"a_1", "a_1-0f", "a_1-0f-0f", "a_10", "a-1"}


def test_a_run_that_was_deleted_comes_back(training: Make, place: Path) -> None:
    file = training().train(20).export("mine")
    first = nbd.import_run(file, place)
    run_store(place).store.delete(first.id)

    again = nbd.import_run(file, place)

    assert again.id != first.id
    assert len(again.frame("loss")) == 20
    assert listed(place) == [("mine", 20)]


def test_a_record_whose_files_are_damaged_is_imported_again(training: Make, place: Path) -> None:
    file = training().train(20).export("mine")
    first = nbd.import_run(file, place)
    for part in (place.with_suffix("") / first.id / "artifacts").iterdir():
        part.write_bytes(b"")

    again = nbd.import_run(file, place)

    assert (again.id, len(again.frame("loss"))) == (first.id, 20)


def test_a_run_under_way_is_not_touched(place: Path, tmp_path: Path) -> None:
    location = store_location(place)
    assert location is not None
    mine = Recorded(tmp_path)
    mine.recorder = Recorder(mine.history, "mine", {}, location, start=False)
    early = mine.train(50).export("early")
    mine.train(30)
    mine.recorder.flush()
    assert mine.recorder.path is not None
    before = mine.recorder.path.read_bytes()

    run = nbd.import_run(early, place)

    assert (run.status, run.steps) == ("running", 80)
    assert "under way" in run.imported
    assert mine.recorder.path.read_bytes() == before
    mine.rewind(20).train(3, shift=2.0)
    mine.recorder.flush()
    assert "both are kept" in nbd.import_run(early, place).imported
    mine.recorder.close()
    assert listed(place) == [("mine", 23), ("mine (2)", 50)]


def test_records_whose_buckets_merged_are_known_as_one_run(training: Make) -> None:
    mine = training(buckets=16)
    found = []
    for steps in (10, 40, 3, 200, 1, 77):
        found.append(mine.train(steps).recorder.bundle())
        fresh = Recorder(mine.history, "mine", {}, _nowhere(mine.folder), start=False)
        merged = fresh.bundle()
        fresh.close(file=False)
        # Read from History, whose buckets are coarser than those of the journal.
        run = {**merged["run"], "started": found[-1]["run"]["started"]}
        found.append(RunData({**merged.documents, "run": run}, merged.series))

    for at, early in enumerate(found):
        for late in found[at + 2 :: 2]:
            assert relation(early, late) == "older"
            assert relation(late, early) == "newer"


def _nowhere(folder: Path) -> StoreLocation:
    found = store_location(folder / "nowhere.db")
    assert found is not None
    return found


@pytest.mark.parametrize("key", ["", "../../escaped", "a'b", "a%", "x" * 200, None, 3.5])
def test_a_key_that_is_none_is_refused(
    training: Make, place: Path, key: object, tmp_path: Path
) -> None:
    data = training().train(5).recorder.bundle()
    about = {**data["run"], "key": key}
    file = Run(lambda: RunData({**data.documents, "run": about}, data.series), "x").export(
        tmp_path / "run.zip"
    )

    with pytest.raises(nbd.RunStoreError):
        nbd.import_run(file, place)

    assert listed(place) == []
    assert not list(tmp_path.parent.glob("escaped*"))
