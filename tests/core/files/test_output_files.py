"""Whatever a user asks to be written is written, or refused in words with the path."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.errors import ArgumentError, OutputError
from tests.problems import blobs, tiny_mlp

Write = Callable[[nbd.Debugger, Any], Any]
# Each verb that writes where the user says: the end of a file's name, "" for a folder.
VERBS: dict[str, tuple[str, Write]] = {
    "report": (".html", lambda dbg, path: dbg.report(path)),
    "report of a run": (".html", lambda dbg, path: dbg.record.report(path)),
    "script": (".py", lambda dbg, path: dbg.script(path)),
    "zip": (".zip", lambda dbg, path: dbg.record.export(path)),
    "csv": (".csv", lambda dbg, path: dbg.record.export(path)),
    "parquet": (".parquet", lambda dbg, path: dbg.record.export(path)),
    "tensorboard": ("", lambda dbg, path: dbg.record.export(path, "tensorboard")),
}
FILES = [name for name, (suffix, _) in VERBS.items() if suffix]


@pytest.fixture(scope="module")
def dbg() -> Iterator[nbd.Debugger]:
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), runs=None) as made:
        made.run(steps=2)
        yield made


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): b"" if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def refused(dbg: nbd.Debugger, verb: str, path: Any) -> str:
    with pytest.raises(OutputError) as caught:
        VERBS[verb][1](dbg, path)
    # A line that names the place, and nothing of temporary files.
    said = str(caught.value)
    assert ".part" not in said
    assert said.endswith(".")
    return said


@pytest.mark.parametrize("below", ["", "a/b"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_file_in_the_way_of_a_folder(
    dbg: nbd.Debugger, verb: str, below: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    before = content(tmp_path)
    path = tmp_path / "mine" / below / f"run{VERBS[verb][0]}"
    said = refused(dbg, verb, path)
    assert str(path) in said
    assert f"{tmp_path / 'mine'} is a file, not a folder" in said
    assert content(tmp_path) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no such folder here")
@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_cannot_be_made(dbg: nbd.Debugger, verb: str) -> None:
    # Not even an administrator can make one there.
    path = f"/proc/nbdebug/run{VERBS[verb][0]}"
    assert path in refused(dbg, verb, path)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="an administrator may write anywhere"
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_is_read_only(dbg: nbd.Debugger, verb: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "Permission denied" in refused(dbg, verb, tmp_path / f"a{VERBS[verb][0]}")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("verb", VERBS)
def test_the_wrong_kind_of_place(dbg: nbd.Debugger, verb: str, tmp_path: Path) -> None:
    suffix = VERBS[verb][0]
    path = tmp_path / f"run{suffix}"
    if suffix:
        path.mkdir()
    else:
        path.write_text("mine")
    before = content(tmp_path)
    said = refused(dbg, verb, path)
    assert str(path) in said
    assert ("it is a folder" if suffix else "is a file, not a folder") in said
    assert content(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
@pytest.mark.parametrize("verb", FILES)
def test_a_device_or_a_pipe_is_not_replaced(dbg: nbd.Debugger, verb: str, tmp_path: Path) -> None:
    path = tmp_path / f"pipe{VERBS[verb][0]}"
    os.mkfifo(path)
    assert "no ordinary file" in refused(dbg, verb, path)
    assert stat.S_ISFIFO(path.stat().st_mode)


@contextmanager
def full_disk(left: int = 300) -> Iterator[None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_leaves_what_was_there(
    dbg: nbd.Debugger, verb: str, there: bool, tmp_path: Path
) -> None:
    suffix, write = VERBS[verb]
    path = tmp_path / f"run{suffix}"
    if there:
        write(dbg, path)
    elif not suffix:
        path.mkdir()
    before = content(tmp_path)
    with full_disk():
        said = refused(dbg, verb, path)
    assert str(path.with_suffix("")) in said
    assert "Free some space" in said
    assert content(tmp_path) == before


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "~nobody-of-this-name/run"])
def test_a_name_that_cannot_be(dbg: nbd.Debugger, verb: str, name: str, tmp_path: Path) -> None:
    path = name if name.startswith("~") else str(tmp_path / name)
    refused(dbg, verb, path + VERBS[verb][0])
    assert content(tmp_path) == {}


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_path(dbg: nbd.Debugger, verb: str) -> None:
    with pytest.raises(ArgumentError, match="path must be a text or a Path; got 5"):
        VERBS[verb][1](dbg, 5)


@pytest.mark.parametrize("verb", VERBS)
def test_missing_folders_are_made(dbg: nbd.Debugger, verb: str, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / f"run{VERBS[verb][0]}"
    VERBS[verb][1](dbg, path)
    assert path.exists()


@pytest.mark.parametrize("way", ["file in the way", "full disk"])
def test_a_checkpoint_that_cannot_be_saved(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with nbd.Debugger(tiny_mlp(), blobs(), nn.CrossEntropyLoss(), name="one", runs=None) as dbg:
        dbg.run(steps=1)
        if way == "full disk":
            dbg.timeline.save()
            with full_disk(), pytest.raises(OutputError, match="Free some space"):
                dbg.timeline.save()
            return
        (tmp_path / "nbdebug-checkpoints").write_text("mine")
        with pytest.raises(OutputError, match="nbdebug-checkpoints is a file, not a folder"):
            dbg.timeline.save()
        (tmp_path / "nbdebug-checkpoints").unlink()
