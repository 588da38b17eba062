"""A run as one archive, which nbdebug can import."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.atomic_write import atomic_write

if TYPE_CHECKING:
    from nbdebug.runs.record.run_record import RunRecord

# The earliest time of the format: the same run gives the same bytes.
FIXED_TIMESTAMP = (1980, 1, 1, 0, 0, 0)


class ZipFile(Exporter):
    """All data of the run; `nbdebug.import_run` imports it on any machine.

    One JSON file per document and the series as Parquet, see `RunData.files`; all values are
    exact. The same run gives the same archive.
    """

    name: ClassVar[str] = "zip"
    suffix: ClassVar[str] = ".zip"

    def export(self, run: RunRecord, path: Path) -> Path:
        with (
            atomic_write(path) as beside,
            zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, data in run.bundle.files():
                about = zipfile.ZipInfo(name, FIXED_TIMESTAMP)
                about.compress_type = zipfile.ZIP_DEFLATED
                about.external_attr = 0o644 << 16
                archive.writestr(about, data)
        return path
