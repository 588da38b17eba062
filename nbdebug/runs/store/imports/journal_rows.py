"""Rows of runs that still are journals."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbdebug.errors import RunStoreError
from nbdebug.runs.record.headline import metric_names
from nbdebug.runs.record.journal import read_frames
from nbdebug.runs.record.journal_owner import key_of
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.row import DAMAGED, Row, seconds, whole_number


def read_journal(path: Path) -> RunData:
    """Data of a journal.

    Raises:
        RunStoreError: the journal is damaged.
        OSError: it is gone, or cannot be opened.
    """
    try:
        return RunData.from_frames(read_frames(path))
    except RunStoreError as error:
        reason = error.__cause__ or error
        raise RunStoreError(f"The journal {path} is damaged: {reason}") from error


def row_of_journal(path: Path) -> Row | None:
    """Row of a run that is not in the store yet; None if the journal names no run.

    Raises:
        OSError: the journal is gone, or cannot be opened.
    """
    try:
        data = read_journal(path)
        return journal_row(data, key_of(path)) if data["run"] else None
    except RunStoreError:
        about = _run_named_in(path)
        return None if about is None else _damaged_journal_row(path, about)


def journal_row(bundle: RunData, file_key: str = "") -> Row:
    """Row of the record; parts that cannot be read are left out."""
    about = bundle["run"]
    started, ended, steps = about.get("started"), about.get("ended"), about.get("step")
    damaged = (
        seconds(started) is None
        or (seconds(ended) is None) != (ended is None)
        or (whole_number(steps) is None) != ("step" not in about)
    )
    names = metric_names(bundle.series, _listed(about.get("metrics")))
    last = {n: float(bundle.series[n].last[-1]) for n in names if len(bundle.series[n])}
    key = str(about.get("key") or file_key)
    parameters = bundle["parameters"]
    return Row(
        id=key,
        key=key,
        name=str(about.get("name") or key),
        status=DAMAGED if damaged else str(about.get("status", "running")),
        started=seconds(started) or 0.0,
        ended=seconds(ended),
        parameters={n: str(v) for n, v in parameters.items()},
        metrics=last,
        steps=whole_number(steps),
    )


def _damaged_journal_row(path: Path, about: Mapping[str, Any]) -> Row:
    """Row of a journal that names a run, and cannot be read."""
    name = about.get("name")
    return Row(
        id=key_of(path), key=key_of(path), name=name if isinstance(name, str) else path.name,
        status=DAMAGED, started=0.0, ended=None,
    )  # fmt: skip


def _run_named_in(path: Path) -> Mapping[str, Any] | None:
    """The last words on its run in a journal that is damaged at another point; None without any."""
    found = None
    with suppress(Exception):
        for frame in read_frames(path):
            value = frame.header.get("value")
            if frame.header.get("document") == "run" and isinstance(value, dict):
                found = value
    return found


def _listed(metrics: Any) -> list[str]:
    return [name for name in metrics if isinstance(name, str)] if isinstance(metrics, list) else []
