"""The series, changes and notes of a run as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.atomic_write import whole_file

if TYPE_CHECKING:
    import pandas as pd

    from nbdebug.runs.record.run_record import RunRecord


class CsvFiles(Exporter):
    """A table to open in a spreadsheet: a row a step, a column a series, as `Run.frame` gives it.

    The first column is `step`. A cell is empty where a series was not measured at that step; in a
    long run a cell is the mean of steps that were merged, and stands at the last of them. For
    `run.csv` changes of controls and notes go to `run-changes.csv` and `run-notes.csv` beside it,
    where there are any. UTF-8, decimal points, numbers in full.
    """

    name: ClassVar[str] = "csv"
    suffix: ClassVar[str] = ".csv"

    def export(self, run: RunRecord, path: Path) -> Path:
        _write(run.frame(), path, index=True)
        for kind, table in (("changes", run.changes), ("notes", run.notes)):
            beside = path.with_name(f"{path.stem}-{kind}{path.suffix}")
            # Rows of an export before would pass for those of this run.
            if len(table) or beside.exists():
                _write(table, beside, index=False)
        return path


def _write(table: pd.DataFrame, path: Path, index: bool) -> None:
    with whole_file(path) as beside:
        table.to_csv(beside, index=index, encoding="utf-8", lineterminator="\n")
