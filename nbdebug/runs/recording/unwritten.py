"""Frames that are not in a journal yet, since the disk is full."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from dataclasses import dataclass, field

from nbdebug.runs.record.journal import Frame, Journal
from nbdebug.runs.recording.journal_place import JournalPlace, fallback_folder, reason_of
from nbdebug.runs.recording.store_writer import StoreWriter


@dataclass(frozen=True)
class Unwritten:
    """Frames that wait in memory.

    Attributes:
        replaces: whether they replace all that is in the journal.
    """

    frames: tuple[Frame, ...] = ()
    replaces: bool = False

    def then(self, frames: list[Frame]) -> Unwritten:
        """These frames and later ones."""
        return Unwritten((*self.frames, *frames), self.replaces)

    def write(self, place: JournalPlace) -> None:
        """Write the frames into a journal.

        Raises:
            OSError: there is no space.
        """
        write = place.journal.rewrite if self.replaces else place.journal.append
        write(self.frames)


@dataclass(frozen=True)
class EndOfRun:
    """A run that has ended, whose last frames are not in its journal.

    If the process ends before there is space, the whole run is written into the temporary folder.
    """

    place: JournalPlace
    store_writer: StoreWriter | None
    rest: Unwritten
    process: int = field(default_factory=os.getpid)

    def write(self) -> None:
        """Write the frames and leave the journal to its store writer, or to the next program.

        Raises:
            OSError: there is no space; it may be called again.
        """
        atexit.unregister(self.save_elsewhere)
        try:
            self.rest.write(self.place)
        except OSError:
            atexit.register(self.save_elsewhere)
            raise
        self.place.journal.close()
        if self.store_writer is not None:
            self.store_writer.finish()
        elif self.place.lock is not None:
            self.place.lock.release(remove=False)

    def save_elsewhere(self) -> None:
        """Write the whole run into the temporary folder, and print where it is."""
        if os.getpid() != self.process:
            return
        path = self.place.journal.path
        try:
            other = fallback_folder()[0] / path.name
            if not self.rest.replaces:
                shutil.copyfile(path, other)
            journal = Journal(other)
            journal.append(self.rest.frames)
            journal.close()
        except OSError as error:
            text = f"The rest is lost: the temporary folder takes it neither. {reason_of(error)}"
        else:
            text = f"The whole run is in {other}: nbdebug.import_run({str(other)!r}) imports it."
        print(f"nbdebug: {path} holds a part of the run. {text}", file=sys.stderr)
