"""Files that nbdebug makes by itself are private; those that were asked for follow the umask."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

# For its lifetime it keeps the temporary folder that it finds when it is imported.
import torch._dynamo
from torch import nn

import nbdebug as nbd
from nbdebug import Debugger
from nbdebug.core.files.private_files import reason_not_private
from nbdebug.runs.record.atomic_write import atomic_write
from tests.inside import record_as

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
Make = Callable[..., Debugger]


@pytest.fixture(params=[0o022, 0o000], ids=["usual", "open"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(*roots: Path) -> list[str]:
    found = [path for root in roots for path in [root, *root.rglob("*")]]
    assert found
    return [f"{path.name} {mode(path):o}" for path in found if mode(path) & 0o077]


@pytest.mark.slow
@pytest.mark.usefixtures("made_by_mlflow")
def test_store_and_journals(debugger: Make, tmp_path: Path, umask: int) -> None:
    place = tmp_path / "new" / "runs.db"
    place.parent.mkdir(mode=0o700)
    dbg = debugger(runs=place, name="private")
    dbg.run(steps=5)
    _ = dbg.record
    assert list(place.with_suffix("").glob("*.journal"))
    assert open_to_others(place.with_suffix("")) == []
    dbg.close()
    file = nbd.load_run("private", place).export(tmp_path / "run.zip")
    nbd.import_run(file, place)

    lock = place.with_suffix("") / "opening.lock"
    lock.unlink(missing_ok=True)
    assert open_to_others(place.with_suffix(""), *place.parent.glob("runs.db*")) == []


def test_checkpoints(tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = torch.randn(32, 4), torch.randn(32, 1)
    with Debugger(nn.Linear(4, 1), data, nn.MSELoss(), runs=None, name="mine") as dbg:
        for _ in range(3):
            dbg.run(steps=2)
            dbg.timeline.save()

    folder = tmp_path / "nbdebug-checkpoints"
    assert len(list(folder.iterdir())) == 2
    assert open_to_others(folder) == []


def test_a_file_that_was_asked_for_follows_the_umask(
    debugger: Make, tmp_path: Path, umask: int
) -> None:
    dbg = debugger(runs=None)
    dbg.run(steps=3)

    files = [dbg.record.export(tmp_path / f"run.{kind}") for kind in ("zip", "csv", "parquet")]
    files.append(dbg.report(tmp_path / "made" / "run.html"))

    assert {mode(file) for file in files} == {0o666 & ~umask}
    assert mode(tmp_path / "made") == 0o700


def test_a_file_that_is_replaced_keeps_its_mode_and_the_half_one_is_private(
    tmp_path: Path,
) -> None:
    path = tmp_path / "shared"
    path.touch()
    path.chmod(0o640)

    with atomic_write(path) as beside:
        assert mode(beside) == 0o600
        beside.write_text("new")

    assert (path.read_text(), mode(path)) == ("new", 0o640)
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A store that cannot be made."""
    (tmp_path / "file").write_text("no folder")
    return tmp_path / "file" / "runs.db"


def journal_of(debugger: Make, nowhere: Path) -> tuple[Path, str]:
    """Where a journal is whose place cannot be written to, and what is said about that."""
    dbg = debugger(runs=nowhere)
    dbg.run(steps=3)
    _ = dbg.record
    dbg.close()
    (notice,) = dbg.history.notices
    path = Path(notice.text.partition("Its data is in ")[2].partition("; nbdebug")[0])
    assert path.exists()
    return path, notice.text


def test_the_temporary_folder_is_private(
    debugger: Make, temporary: Path, nowhere: Path, umask: int
) -> None:
    path, _ = journal_of(debugger, nowhere)

    assert path.parent == temporary / "nbdebug-runs"
    assert open_to_others(path.parent) == []


def test_a_folder_that_others_may_read_is_made_private(
    debugger: Make, temporary: Path, nowhere: Path
) -> None:
    (temporary / "nbdebug-runs").mkdir(mode=0o755)

    path, _ = journal_of(debugger, nowhere)

    assert path.parent == temporary / "nbdebug-runs"
    assert open_to_others(path.parent) == []


@pytest.mark.parametrize("trap", ["writable", "link", "dangling", "file", "stranger"])
def test_no_journal_goes_into_a_folder_of_others(
    debugger: Make, temporary: Path, nowhere: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, victim = temporary / "nbdebug-runs", temporary / "victim"
    if trap == "link":
        victim.mkdir()
    if trap in ("link", "dangling"):
        usual.symlink_to(victim)
    elif trap == "file":
        usual.touch()
    else:
        usual.mkdir()
        usual.chmod(0o777 if trap == "writable" else 0o700)
    if trap == "stranger":
        me = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: me + 1)

    path, said = journal_of(debugger, nowhere)

    assert path.parent.parent == temporary
    assert path.parent not in (usual, victim)
    assert str(usual) in said
    assert open_to_others(path.parent) == []
    assert not victim.exists() or not list(victim.iterdir())
    assert trap == "file" or usual.is_symlink() or not list(usual.iterdir())


def test_a_link_in_place_of_a_journal_is_not_followed(
    debugger: Make, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = place.with_suffix("")
    folder.mkdir()
    record_as("known", monkeypatch)
    for name in ("known.journal", "known.new", "known.recording.lock"):
        (folder / name).symlink_to(victim)
    dbg = debugger(name="linked")
    dbg.run(steps=3)
    assert dbg.record.steps == 3
    dbg.close()

    assert victim.read_text() == "precious"


def test_reasons_name_the_folder(tmp_path: Path) -> None:
    assert reason_not_private(tmp_path) == ""
    tmp_path.chmod(0o770)
    assert "written to by other users" in reason_not_private(tmp_path)
    assert str(tmp_path) in reason_not_private(tmp_path)
