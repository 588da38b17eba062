"""What two runs may differ in, as flat names and values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbdebug.runs.record.run_record import RunRecord

SHORT_HASH = 16


def differing(facts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Names whose values are not the same everywhere, each with all values.

    Where a name is missing the value is None, which differs from every other.
    """
    names = dict.fromkeys(name for one in facts for name in one)
    rows = {name: [one.get(name) for one in facts] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def surroundings(run: RunRecord) -> dict[str, Any]:
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


def fingerprint(run: RunRecord) -> dict[str, Any]:
    """Number, shapes, dtypes, hashes and class counts of the data, by their place in it."""
    return dict(_flat(run.data, ()))


def _flat(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Values by the names on the way to them; class counts and shapes stay whole."""
    if isinstance(value, Mapping) and place[-1:] != ("classes",):
        for name, part in value.items():
            yield from _flat(part, (*place, str(name)))
    elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
        for number, part in enumerate(value):
            yield from _flat(part, (*place[:-1], str(number)))
    elif place[-1:] == ("sha256",):
        yield " ".join(place), _short(value)
    elif isinstance(value, Mapping | list):
        yield " ".join(place), ", ".join(_pairs(value))
    else:
        yield " ".join(place), value


def _pairs(value: Mapping[str, Any] | list[Any]) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{name}: {count}" for name, count in value.items())
    else:
        yield from map(str, value)


def _short(value: Any) -> str | None:
    return None if value is None else str(value)[:SHORT_HASH]


def _digest(text: Any) -> str | None:
    """By which two long texts are told apart."""
    return hashlib.sha256(str(text).encode()).hexdigest()[:SHORT_HASH] if text else None
