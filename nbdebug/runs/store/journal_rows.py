"""Rows of runs that still are journals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbdebug.runs.record.headline import metric_names
from nbdebug.runs.record.journal import JOURNAL_SUFFIX
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.row import DAMAGED, Row, seconds, whole_number


def journal_row(bundle: RunData) -> Row:
    """Row of a run that is not in the store yet; parts that cannot be read are left out."""
    about = bundle["run"]
    started, ended, steps = about.get("started"), about.get("ended"), about.get("step")
    damaged = (
        seconds(started) is None
        or (seconds(ended) is None) != (ended is None)
        or (whole_number(steps) is None) != ("step" not in about)
    )
    names = metric_names(bundle.series, _listed(about.get("metrics")))
    last = {n: float(bundle.series[n].last[-1]) for n in names if len(bundle.series[n])}
    key = str(about.get("key", ""))
    parameters = bundle["parameters"]
    return Row(
        id=key,
        key=key,
        name=str(about.get("name", "")),
        status=DAMAGED if damaged else str(about.get("status", "running")),
        started=seconds(started) or 0.0,
        ended=seconds(ended),
        parameters={n: str(v) for n, v in parameters.items()},
        metrics=last,
        steps=whole_number(steps),
    )


def damaged_journal_row(path: Path) -> Row:
    """Row of a journal that cannot be read at all."""
    key = path.name.partition(JOURNAL_SUFFIX)[0]
    return Row(id=key, key=key, name=path.name, status=DAMAGED, started=0.0, ended=None)


def _listed(metrics: Any) -> list[str]:
    return [name for name in metrics if isinstance(name, str)] if isinstance(metrics, list) else []
