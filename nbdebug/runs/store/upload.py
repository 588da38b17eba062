"""Puts a run into the store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from nbdebug.core.history.snapshot import Series
from nbdebug.runs.record.run_data import Bundle
from nbdebug.runs.store.mlflow_store import STEPS, Store

HEADLINE = ("loss", "val_loss", "grad_norm", "lr", "batch_size", "samples", "epoch")
GROWING = ("samples", "epoch")
POINTS = 200


def headline(names: Iterable[str], metrics: Iterable[str]) -> list[str]:
    """Those of the series that also become metrics of MLflow."""
    wanted = {*HEADLINE, *metrics, *(f"val_{name}" for name in metrics)}
    return [name for name in names if name in wanted]


def points(series: Mapping[str, Series], most: int) -> Iterator[tuple[str, int, float]]:
    """At most so many values of each series, as metrics: name, step, value.

    Where several steps are one point it is their mean, of what only grows the last; the end is
    always the last value itself.
    """
    for name, one in series.items():
        thin = one.thin(most)
        values = thin.last if name in GROWING else thin.mean
        values = np.append(values[:-1], thin.last[-1:])
        for step, value in zip(thin.step.tolist(), values.tolist(), strict=True):
            if math.isfinite(value):
                yield name, step, value


def shelve(store: Store, bundle: Bundle, run: str | None = None) -> str:
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
