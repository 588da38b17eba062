"""The series of a run as a Parquet table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.atomic_write import atomic_write
from nbdebug.runs.record.series_parquet import to_parquet

if TYPE_CHECKING:
    from nbdebug.runs.record.run_record import RunRecord


class ParquetFile(Exporter):
    """All series in one long table, for pandas, Polars, DuckDB or R.

    A row is a bucket of a series: one step, or several merged steps of a long run. Columns:
    `series`, `step` (the last one of the bucket), `mean`, `minimum`, `maximum`, `last` and `count`
    of its values. Numbers are exact.
    """

    name: ClassVar[str] = "parquet"
    suffix: ClassVar[str] = ".parquet"

    def export(self, run: RunRecord, path: Path) -> Path:
        with atomic_write(path) as beside:
            beside.write_bytes(to_parquet(run.bundle.series))
        return path
