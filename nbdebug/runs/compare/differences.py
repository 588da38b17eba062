"""Facts about runs as flat names and values, and their differences."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbdebug.runs.record.run_record import RunRecord

SHOWN_HASH_LENGTH = 16


def differing(facts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Names whose values differ between runs, each with all values.

    A missing value is None, which differs from every other value.
    """
    names = dict.fromkeys(name for one in facts for name in one)
    rows = {name: [one.get(name) for one in facts] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def environment_facts(run: RunRecord) -> dict[str, Any]:
    """Machine, versions, settings of torch, state of the code, model and initial weights."""
    about, code, model = dict(run.environment), run.code, run.model
    packages = about.pop("packages", None) or {}
    git = code.get("git") or {}
    return {
        **about,
        "nbdebug": run.bundle["run"].get("nbdebug"),
        **{f"package {name}": version for name, version in packages.items()},
        "git commit": git.get("commit"),
        "uncommitted changes": _digest(git.get("diff")),
        "model": model.get("class"),
        "initial weights": _short(model.get("initial_weights")),
        "source of the model": _digest(code.get("model")),
        "source of the loss": _digest(code.get("loss")),
    }


def data_facts(run: RunRecord) -> dict[str, Any]:
    """Number, shapes, dtypes, hashes and class counts of the data, by part."""
    return dict(_flat(run.data, ()))


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Leaf values by their path; class counts and shapes stay together."""
    if isinstance(value, Mapping) and path[-1:] != ("classes",):
        for name, part in value.items():
            yield from _flat(part, (*path, str(name)))
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        for index, part in enumerate(value):
            yield from _flat(part, (*path[:-1], str(index)))
    elif path[-1:] == ("sha256",):
        yield " ".join(path), _short(value)
    elif isinstance(value, Mapping | list):
        yield " ".join(path), ", ".join(_pairs(value))
    else:
        yield " ".join(path), value


def _pairs(value: Mapping[str, Any] | list[Any]) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{name}: {count}" for name, count in value.items())
    else:
        yield from map(str, value)


def _short(value: Any) -> str | None:
    return None if value is None else str(value)[:SHOWN_HASH_LENGTH]


def _digest(text: Any) -> str | None:
    """Short hash of a long text."""
    return hashlib.sha256(str(text).encode()).hexdigest()[:SHOWN_HASH_LENGTH] if text else None
