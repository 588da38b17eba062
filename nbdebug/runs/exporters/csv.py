"""The series, changes and notes of a run as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from nbdebug.runs.exporters._csv_cells import harmless_table
from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.atomic_write import atomic_write

if TYPE_CHECKING:
    import pandas as pd

    from nbdebug.runs.record.run_record import RunRecord


class CsvFiles(Exporter):
    """A table for a spreadsheet: one row per step, one column per series, as in `Run.frame`.

    The first column is `step`. A cell is empty if a series was not measured at that step; in a
    long run a cell is the mean of merged steps, at the last of them. For `run.csv`, control
    changes and notes are written to `run-changes.csv` and `run-notes.csv` beside it, if there are
    any. UTF-8, decimal points, numbers at full precision. A text that a spreadsheet would run as a
    formula has an apostrophe before it.
    """

    name: ClassVar[str] = "csv"
    suffix: ClassVar[str] = ".csv"

    def export(self, run: RunRecord, path: Path) -> Path:
        _write(run.frame(), path, index=True)
        for kind, table in (("changes", run.changes), ("notes", run.notes)):
            beside = path.with_name(f"{path.stem}-{kind}{path.suffix}")
            # Otherwise rows of an earlier export would seem to belong to this run.
            if len(table) or beside.exists():
                _write(table, beside, index=False)
        return path


def _write(table: pd.DataFrame, path: Path, index: bool) -> None:
    with atomic_write(path) as beside:
        harmless_table(table).to_csv(beside, index=index, encoding="utf-8", lineterminator="\n")
