"""Base class of exporters, which write a run in a format of other tools."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from nbdebug.runs.record.run_record import RunRecord


class Exporter(ABC):
    """Writes one run.

    Attributes:
        name: format name in `Run.export`; suffix: path suffix that selects it, "" for none.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ""

    @abstractmethod
    def export(self, run: RunRecord, path: Path) -> Path:
        """Write the run and return the path of the file or folder.

        Raises:
            MissingPackageError: an optional package is missing; with the install command.
            OSError: the run cannot be written.
        """
