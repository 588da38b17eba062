"""Puts a run into the store."""

from __future__ import annotations

from nbdebug.runs.record.headline import headline, points
from nbdebug.runs.record.run_data import RunData
from nbdebug.runs.store.mlflow_store import STEPS, MlflowStore

POINTS = 200


def upload(store: MlflowStore, bundle: RunData, run: str | None = None) -> str:
    """Write a whole run into the store; gives its id.

    Args:
        run: its id, where its metrics are in the store already.
    """
    about = bundle["run"]
    if run is None:
        run = store.begin(about["key"], about["name"], about["started"], bundle["parameters"])
        names = headline(bundle.series, about.get("metrics", ()))
        store.add_points(run, points({name: bundle.series[name] for name in names}, POINTS))
    store.put_files(run, bundle.files())
    ended = about.get("ended") or about.get("seen") or about["started"]
    status = about["status"] if about.get("ended") else "interrupted"
    tags = {STEPS: str(about.get("step", 0))}
    commit = bundle["code"].get("git", {}).get("commit")
    if commit:
        tags["mlflow.source.git.commit"] = commit
    store.end(run, status, ended, tags)
    return run
