"""Whoever has no token, another version or another language gets clear words, or nothing."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from torch import nn

import nbdebug as nbd
from nbdebug.elsewhere.connection import Connection
from nbdebug.elsewhere.frames import HEAD, MAGIC
from nbdebug.elsewhere.registry import Entry, find
from tests.elsewhere.waiting import until
from tests.problems import blobs, tiny_mlp


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(params=["socket", "port"])
def dbg(request: pytest.FixtureRequest) -> Iterator[nbd.Debugger]:
    serve = True if request.param == "socket" else free_port()
    with nbd.Debugger(
        tiny_mlp(), blobs(), nn.CrossEntropyLoss(), name="run", serve=serve, runs=None
    ) as made:
        yield made


def raw(entry: Entry) -> socket.socket:
    made = socket.socket(entry.family)
    made.settimeout(240)
    while True:
        try:
            made.connect(entry.target)
            break
        except BlockingIOError:
            # More than the system lets wait at once.
            time.sleep(0.01)
    return made


def test_it_works_over_both(dbg: nbd.Debugger) -> None:
    with nbd.attach("run") as far:
        far.run(steps=2)
        far.set(lr=0.2)
    assert dbg.controls["lr"] == 0.2


@pytest.mark.parametrize("token", ["", "0" * 64, "ä", "x" * 3000])
def test_a_wrong_token_is_refused(dbg: nbd.Debugger, token: str) -> None:
    entry = dataclasses.replace(find("run"), token=token)
    with pytest.raises(nbd.LinkError, match=r"^Wrong token for 'run' in process \d+") as caught:
        Connection(entry, "somebody")
    assert find("run").token not in str(caught.value)
    dbg.run(steps=1)


def test_another_version_is_told_with_both_numbers(dbg: nbd.Debugger) -> None:
    entry = find("run")
    for change in ({"version": "0.0.1"}, {"protocol": 99}):
        with pytest.raises(nbd.LinkError, match="install the same version in both"):
            Connection(dataclasses.replace(entry, **change), "somebody")


def test_another_version_is_refused_by_the_training_too(
    dbg: nbd.Debugger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdebug.elsewhere.connection.__version__", "0.0.1")
    entry = dataclasses.replace(find("run"), version="0.0.1")
    with pytest.raises(nbd.LinkError, match=r"and nbdebug '0.0.1' \(protocol 1\) attaches"):
        Connection(entry, "somebody")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\0" * 64,
        HEAD.pack(MAGIC, 2**31, 2**31),
        HEAD.pack(MAGIC, 2, 0) + b"{}",
        HEAD.pack(MAGIC, 7, 0) + b"[1, []]",
        b"",
    ],
    ids=["a browser", "zeros", "huge", "no message", "a number", "nothing"],
)
def test_another_language_is_hung_up_on_and_training_goes_on(
    dbg: nbd.Debugger, data: bytes
) -> None:
    # Hung up on, perhaps before all was read.
    with suppress(OSError), raw(find("run")) as other:
        other.sendall(data)
        other.shutdown(socket.SHUT_WR)
        while other.recv(4096):
            pass
    dbg.run(steps=1)
    with nbd.attach("run") as far:
        assert len(far.attendance.names) == 1


def test_one_that_says_nothing_is_hung_up_on(
    dbg: nbd.Debugger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdebug.elsewhere.server.GREETING_SECONDS", 0.1)
    with raw(find("run")) as other:
        assert other.recv(1) == b""


def test_many_that_say_nothing_shut_nobody_out(dbg: nbd.Debugger) -> None:
    silent = [raw(find("run")) for _ in range(20)]
    try:
        with nbd.attach("run") as far:
            far.run(steps=1)
    finally:
        for one in silent:
            one.close()
    until(lambda: sum(t.name == "nbdebug-desk-visit" for t in threading.enumerate()) == 0)
