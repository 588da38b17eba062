"""Frames that are not in a journal yet, since the disk is full."""

from __future__ import annotations

from dataclasses import dataclass

from nbdebug.runs.record.journal import Frame
from nbdebug.runs.recording.journal_place import JournalPlace
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
    """A run that has ended, whose last frames are not in its journal."""

    place: JournalPlace
    store_writer: StoreWriter | None
    rest: Unwritten

    def write(self) -> None:
        """Write the frames and leave the journal to its store writer, or to the next program.

        Raises:
            OSError: there is no space; it may be called again.
        """
        self.rest.write(self.place)
        self.place.journal.close()
        if self.store_writer is not None:
            self.store_writer.finish()
        elif self.place.lock is not None:
            self.place.lock.release(remove=False)
