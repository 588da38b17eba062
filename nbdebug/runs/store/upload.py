"""Upload of a run into the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from nbdebug.runs.record.headline import metric_names, metric_points
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.row import STEPS_TAG

MAX_METRIC_POINTS = 200


class WritableStore(Protocol):
    """A store that takes a run; see `MlflowStore`."""

    def begin(self, key: str, name: str, started: float, parameters: Mapping[str, Any]) -> str:
        """Create the entry of a run, or find an existing one, and return its id."""

    def add_points(self, run: str, points: Iterable[tuple[str, int, float]]) -> None:
        """Log values of metrics: name, step, value."""

    def put_files(self, run: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Store files with a run."""

    def end(self, run: str, status: str, ended: float, tags: Mapping[str, str]) -> None:
        """Record the end of a run with its final status and tags."""


def upload(
    store: WritableStore, bundle: RunData, run: str | None = None, files: bool = True
) -> str:
    """Write a whole run into the store and return its id.

    Args:
        run: id of the run if its metrics are in the store already.
        files: write its files too.
    """
    about = bundle["run"]
    if run is None:
        name, started = about.get("name") or about["key"], about.get("started", 0.0)
        run = store.begin(about["key"], name, started, bundle["parameters"])
        names = metric_names(bundle.series, about.get("metrics", ()))
        store.add_points(
            run, metric_points({name: bundle.series[name] for name in names}, MAX_METRIC_POINTS)
        )
    if files:
        store.put_files(run, bundle.files())
    ended = about.get("ended") or about.get("seen") or about.get("started", 0.0)
    status = about.get("status", "interrupted") if about.get("ended") else "interrupted"
    tags = {STEPS_TAG: str(about.get("step", 0))}
    commit = bundle["code"].get("git", {}).get("commit")
    if commit:
        tags["mlflow.source.git.commit"] = commit
    store.end(run, status, ended, tags)
    return run
