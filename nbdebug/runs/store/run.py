"""A recorded run with export and report."""

from __future__ import annotations

import os
from pathlib import Path

from nbdebug.core.error_text import describe_error
from nbdebug.core.files.output_files import as_path, output
from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.names import unknown_name
from nbdebug.core.plugins import discover
from nbdebug.errors import ArgumentError, PluginError
from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.atomic_write import atomic_write
from nbdebug.runs.record.run_record import RunRecord

# "nbdebug.runs" is the name that 0.1 had for it; read until 0.3.
EXPORTER_GROUPS = ("nbdebug.exporters", "nbdebug.runs")


class Run(RunRecord):
    """One recorded training; read from disk at first access.

    Attributes:
        imported: what `import_run` kept of the file and of the store, in words; "" where the
            store did not have the run.
    """

    imported = ""

    def __repr__(self) -> str:
        said = super().__repr__()
        return f"{said[:-1]}. {self.imported}>" if self.imported else said

    def export(self, path: str | os.PathLike[str], format: str | None = None) -> Path:
        """Export the run to a file or folder.

        Args:
            path: file or folder to write; `import_run` reads "run.zip".
            format: name of an exporter (zip, csv, parquet, tensorboard, comet); None chooses by
                the suffix of the path.

        Returns:
            Path of the file or folder.

        Raises:
            ArgumentError: there is no such format.
            OutputError: nothing can be written there.
        """
        broken: dict[str, BaseException] = {}
        found = discover(
            "nbdebug.runs.exporters", Exporter, broken.__setitem__, groups=EXPORTER_GROUPS
        )
        exporters = {one.name: one for one in found}
        target = as_path(path)
        suffixes = {one.suffix: name for name, one in exporters.items() if one.suffix}
        chosen = suffixes.get(target.suffix.lower()) if format is None else format
        if chosen is None:
            known = ", ".join(sorted(suffixes))
            raise ArgumentError(
                f"{target.name} has no suffix of a known format: use one of {known}, or give "
                f"format={' or '.join(repr(name) for name in sorted(exporters))}."
            )
        if chosen in broken:
            raise PluginError(
                f"The exporter {chosen} cannot be loaded: {describe_error(broken[chosen])}."
            )
        if chosen not in exporters:
            raise ArgumentError(unknown_name("format", chosen, exporters))
        with output(path, folder=not exporters[chosen].suffix) as target:
            return exporters[chosen]().export(self, target)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write one page of HTML with plots, changes, findings, checks and notes.

        The page is self-contained: it works without a network.

        Raises:
            OutputError: nothing can be written there.
        """
        from nbdebug.runs.report.report import report_page

        page = report_page(self, self._looks())
        with output(path) as target, atomic_write(target) as beside:
            beside.write_text(page, encoding="utf-8")
        return target

    def _looks(self) -> Snapshot:
        """The training with what was looked at inside the network; a record holds no pictures."""
        return Snapshot()
