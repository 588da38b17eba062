"""Latest result of each kind (fork, checks, findings, ...); a new one replaces the old one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self, TypeVar, overload, runtime_checkable

T = TypeVar("T")


@runtime_checkable
class OverTime(Protocol):
    """A result that holds several steps."""

    def ended_before(self, step: int) -> Self:
        """The same without `step` and later ones."""


class LatestResults(Mapping[type, Any]):
    """Results by their class; immutable, so a Snapshot may hold it."""

    def __init__(self, results: Mapping[type, Any] | None = None) -> None:
        self._results = dict(results or {})

    @classmethod
    def holding(cls, *results: object) -> LatestResults:
        """Some results, each under its class."""
        return cls({type(result): result for result in results})

    @overload
    def of(self, kind: type[T]) -> T | None: ...
    @overload
    def of(self, kind: type[T], default: T) -> T: ...
    def of(self, kind: type[T], default: T | None = None) -> T | None:
        """The latest result of a class, `default` without one."""
        found = self._results.get(kind)
        return found if isinstance(found, kind) else default

    def with_result(self, result: object) -> LatestResults:
        """A copy in which `result` replaces the one of its class."""
        return LatestResults({**self._results, type(result): result})

    def without(self, kind: type) -> LatestResults:
        """A copy without the result of a class."""
        return LatestResults({k: v for k, v in self._results.items() if k is not kind})

    def ended_before(self, step: int) -> LatestResults:
        """A copy in which results over time end before `step`."""
        return LatestResults(
            {
                k: v.ended_before(step) if isinstance(v, OverTime) else v
                for k, v in self._results.items()
            }
        )

    def __getitem__(self, kind: type) -> Any:
        return self._results[kind]

    def __iter__(self) -> Iterator[type]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)
