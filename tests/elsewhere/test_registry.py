"""Who listens is found by its own user alone, and the dead are not found."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import nbdebug as nbd
from nbdebug.elsewhere.listener import Listener, listen, wanted
from nbdebug.elsewhere.registry import Entry, entries, find, register, runtime_folder
from nbdebug.errors import ArgumentError, LinkError, OutputError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Rights and sockets of POSIX.")


@pytest.fixture
def dead() -> int:
    """Id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        return child.pid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nothing_listens_unless_asked(runtime: Path) -> None:
    assert listen(None) is None
    assert listen(False) is None
    assert not runtime.exists()
    assert entries() == []
    assert len(nbd.attachable()) == 0


def test_folder_socket_and_file_are_for_the_owner_alone(runtime: Path) -> None:
    listener = Listener(True)
    try:
        listener.announce("run")
        assert mode(runtime) == 0o700
        assert {mode(path) for path in runtime.iterdir()} == {0o600}
        assert {path.suffix for path in runtime.iterdir()} == {".sock", ".json"}
    finally:
        listener.close()
    assert list(runtime.iterdir()) == []


def test_a_folder_that_others_may_read_is_closed(runtime: Path) -> None:
    runtime.mkdir(mode=0o755)
    Listener(True).close()
    assert mode(runtime) == 0o700


def test_a_folder_that_others_may_write_to_is_refused(runtime: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o777)
    with pytest.raises(OutputError, match=r"can be written to by other users.*XDG_RUNTIME_DIR"):
        Listener(True)


def test_without_a_runtime_folder_it_is_in_that_for_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert runtime_folder() == tmp_path / f"nbdebug-{os.getuid()}"
    assert mode(runtime_folder()) == 0o700


def test_a_path_too_long_for_a_socket_is_a_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    listener = Listener(True)
    try:
        assert listener.socket.family == socket.AF_INET
        assert listener.socket.getsockname() == ("127.0.0.1", listener.address)
    finally:
        listener.close()


def test_a_token_is_in_the_file_and_nowhere_else() -> None:
    listener, second = Listener(True), Listener(True)
    try:
        entry = listener.announce("run")
        assert len(entry.token) == 64
        assert find("run") == entry
        for text in (repr(entry), str(entry), nbd.attachable().to_string()):
            assert entry.token not in text
        assert entry.token != second.token
    finally:
        listener.close()
        second.close()


def test_what_a_killed_process_left_is_removed(runtime: Path, dead: int) -> None:
    folder = runtime_folder()
    path = folder / "left.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    register(dataclasses.replace(Entry("run", str(path), "t" * 64), process=dead), folder)
    with pytest.raises(LinkError, match=r"No training 'run' listens here; listening: none\."):
        find("run")
    assert list(runtime.iterdir()) == []


def test_a_number_that_another_process_got_since_is_no_training() -> None:
    entry = Entry("run", "x.sock", "t" * 64)
    assert entry.lives
    assert not dataclasses.replace(entry, created=entry.created - 60).lives


def test_files_that_are_none_of_ours_are_passed_over(runtime: Path) -> None:
    folder = runtime_folder()
    for number, text in enumerate(("", "[]", "{}", '{"name": 3}', "x")):
        (folder / f"{number}.json").write_text(text)
    assert entries() == []
    assert len(list(runtime.iterdir())) == 5


def test_several_are_told_apart_by_name_and_process() -> None:
    listeners = [Listener(True) for _ in range(2)]
    try:
        first, second = (one.announce(name) for one, name in zip(listeners, "ab", strict=True))
        assert {find("a"), find("b")} == {first, second}
        with pytest.raises(ArgumentError, match="Several trainings listen here: 'b' in process"):
            find()
        with pytest.raises(LinkError, match=r"No training 'c'.*listening: 'b' in process \d+, 'a'"):
            find("c")
        with pytest.raises(LinkError, match="No training 'a' of process 1 listens"):
            find("a", process=1)
        assert list(nbd.attachable()["name"]) == ["b", "a"]
    finally:
        for one in listeners:
            one.close()


@pytest.mark.parametrize(
    ("variable", "found"),
    [("", False), ("0", False), ("off", False), ("1", True), ("Yes", True), ("8765", 8765)],
)
def test_the_variable_asks(variable: str, found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDEBUG_SERVE", variable)
    assert wanted(None) == found
    assert wanted(False) is False
    assert wanted(True) is True


@pytest.mark.parametrize("value", [0, 1, 80, 70_000, "yes", 2.0, [True]])
def test_another_argument_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="serve must be True, False or a port from 1024"):
        wanted(value)


def test_another_variable_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDEBUG_SERVE", "maybe")
    with pytest.raises(ArgumentError, match="NBDEBUG_SERVE=maybe"):
        wanted(None)


def test_a_port_that_is_taken_is_said_in_words(runtime: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=rf"port {port} of 127.0.0.1 is taken.*serve=True"):
            Listener(port)
    assert list(runtime.iterdir()) == []
