"""A run as one archive, which nbdebug reads again."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.atomic_write import whole_file

if TYPE_CHECKING:
    from nbdebug.runs.record.run_record import RunRecord

# The earliest that the format knows: the same run gives the same bytes.
WHEN = (1980, 1, 1, 0, 0, 0)


class ZipFile(Exporter):
    """Everything that is known of the run; `nbdebug.import_run` takes it in on any machine.

    One JSON file a document and the series as Parquet, see `Bundle.files`; all values equal to the
    bit. The same run gives the same archive.
    """

    name: ClassVar[str] = "zip"
    suffix: ClassVar[str] = ".zip"

    def export(self, run: RunRecord, path: Path) -> Path:
        with (
            whole_file(path) as beside,
            zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name, data in run.bundle.files():
                about = zipfile.ZipInfo(name, WHEN)
                about.compress_type = zipfile.ZIP_DEFLATED
                about.external_attr = 0o644 << 16
                archive.writestr(about, data)
        return path
