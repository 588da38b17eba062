"""The contract of an exporter: it writes a run in a format that others read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from nbdebug.runs.record.run_record import RunRecord


class Exporter(ABC):
    """Writes one run.

    Attributes:
        name: what `Run.export` knows it by; suffix: of a path that asks for it, "" for none.
    """

    name: ClassVar[str]
    suffix: ClassVar[str] = ""

    @abstractmethod
    def export(self, run: RunRecord, path: Path) -> Path:
        """Write the run; gives the path of what was written.

        Raises:
            MissingPackageError: an optional package is missing; says how to install it.
            OSError: it cannot be written.
        """
