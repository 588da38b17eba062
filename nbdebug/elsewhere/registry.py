"""Trainings that listen on this machine: one small file each, in a folder of this user alone."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import psutil

from nbdebug._version import __version__
from nbdebug.core.files.private_files import make_private, private_folder, reason_not_private
from nbdebug.errors import ArgumentError, LinkError, OutputError

# Of the messages; another number is another language.
PROTOCOL = 1
RUNTIME_VARIABLE = "XDG_RUNTIME_DIR"
FOLDER, ENDING, SOCKET_ENDING = "nbdebug", ".json", ".sock"
# Clocks of processes are coarse.
CLOCK_SECONDS = 2.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Entry:
    """A training that listens.

    Attributes:
        name: of the training; process: its id; created: when that process began.
        started: when it began to listen, in seconds since 1970.
        version, protocol: of nbdebug there.
        address: path of a Unix socket, or a number of a port of the loopback.
        token: that shows that a caller may read this file.
    """

    name: str
    address: str | int
    token: str = field(repr=False)
    process: int = field(default_factory=os.getpid)
    created: float = field(default_factory=lambda: float(psutil.Process().create_time()))
    started: float = field(default_factory=time.time)
    version: str = __version__
    protocol: int = PROTOCOL

    @property
    def lives(self) -> bool:
        """True while the process of the training runs."""
        try:
            begun = psutil.Process(self.process).create_time()
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True
        return bool(abs(begun - self.created) <= CLOCK_SECONDS)

    @property
    def family(self) -> int:
        """Kind of its socket."""
        return int(socket.AF_INET if isinstance(self.address, int) else socket.AF_UNIX)

    @property
    def target(self) -> Any:
        """Its address, as sockets take it."""
        return (LOOPBACK, self.address) if isinstance(self.address, int) else self.address

    def __str__(self) -> str:
        return f"{self.name!r} in process {self.process}"


def runtime_folder() -> Path:
    """Folder of this user for what runs now; made if it is missing.

    Raises:
        OutputError: there is none that others cannot write to.
    """
    base = os.environ.get(RUNTIME_VARIABLE, "")
    folder = Path(base) / FOLDER
    if not base or not os.path.isdir(base) or not os.access(base, os.W_OK):
        user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
        folder = Path(tempfile.gettempdir()) / f"{FOLDER}{user}"
    try:
        private_folder(folder)
        reason = reason_not_private(folder)
        if not reason:
            make_private([folder])
            return folder
    except OSError as error:
        reason = f"{folder}: {error.strerror or error}"
    raise OutputError(
        f"No training can listen here, nor be found: {reason}. Set {RUNTIME_VARIABLE} to a folder "
        "of yours."
    )


def register(entry: Entry, folder: Path) -> Path:
    """Write the file of a training; it appears whole or not at all."""
    path = folder / f"{entry.process}-{entry.token[:8]}{ENDING}"
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(entry), file)
    part.replace(path)
    return path


def entries() -> list[Entry]:
    """All trainings of this user that listen, the newest first.

    Files and sockets that a killed process left are removed.
    """
    return sorted(_living(runtime_folder()), key=lambda entry: entry.started, reverse=True)


def _living(folder: Path) -> Iterator[Entry]:
    for path in folder.glob(f"*{ENDING}"):
        entry = _read(path)
        if entry is None:
            continue
        if entry.lives:
            yield entry
            continue
        with suppress(OSError):
            path.unlink()
            if isinstance(entry.address, str) and Path(entry.address).parent == folder:
                Path(entry.address).unlink()


def _read(path: Path) -> Entry | None:
    """Entry of a file; None if it is gone or none of ours."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        # Fields that a later version adds are passed over.
        known = {one.name: found[one.name] for one in fields(Entry)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    right = {"name": str, "token": str, "version": str, "process": int, "protocol": int}
    if not all(type(known[name]) is kind for name, kind in right.items()):
        return None
    if type(known["address"]) not in (str, int):
        return None
    return Entry(**known)


def find(name: str | None = None, process: int | None = None) -> Entry:
    """The training of a name, or of a process; without both the only one.

    Raises:
        LinkError: there is none.
        ArgumentError: there are several.
    """
    known = entries()
    found = [
        entry for entry in known if name in (None, entry.name) and process in (None, entry.process)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ArgumentError(
            f"Several trainings listen here: {', '.join(map(str, found))}. Give the name, or "
            f"process={found[0].process}."
        )
    wanted = "training" if name is None else f"training {name!r:.80}"
    wanted += "" if process is None else f" of process {process}"
    listed = ", ".join(map(str, known)) or "none"
    raise LinkError(
        f"No {wanted} listens here; listening: {listed}. A script listens with serve=True or "
        "NBDEBUG_SERVE=1, as the same user on the same machine, until it ends."
    )
