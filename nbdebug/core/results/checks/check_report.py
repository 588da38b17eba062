"""Report of the checks of the five-step checklist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nbdebug.core.names import unknown_name
from nbdebug.core.results.checks.check_result import (
    BAD_STATUSES,
    CHECKLIST_STEPS,
    STATUS_LABELS,
    STATUS_SIGNS,
    CheckResult,
)
from nbdebug.core.results.checks.check_table import page
from nbdebug.core.results.plain import SCHEMA_VERSION, plain
from nbdebug.errors import CheckNameError

if TYPE_CHECKING:
    import pandas as pd

STATUS_ORDER = ("fail", "warning", "pass", "not_applicable", "not_run")


@dataclass(frozen=True)
class CheckReport:
    """Iterable results of the checklist, step by step.

    Indexing takes the name of a check. `causes` lists the results to look at first.
    """

    results: tuple[CheckResult, ...] = ()

    @classmethod
    def of(cls, results: Iterable[CheckResult]) -> CheckReport:
        """Sort results by step and link consequences to their cause."""
        ordered = sorted(results, key=lambda result: result.step)
        by_name = {result.name: result for result in ordered}
        return cls(tuple(_explained(result, by_name) for result in ordered))

    def __iter__(self) -> Iterator[CheckResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, name: str) -> CheckResult:
        for result in self.results:
            if result.name == name:
                return result
        raise CheckNameError(unknown_name("check", name, [r.name for r in self.results]))

    @property
    def causes(self) -> tuple[CheckResult, ...]:
        """Failures, then warnings, that no other result explains."""
        bad = [r for r in self.results if r.status in BAD_STATUSES and not r.because]
        return tuple(sorted(bad, key=lambda result: STATUS_ORDER.index(result.status)))

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row per check."""
        import pandas as pd

        columns = list(CheckResult.__dataclass_fields__)
        rows = [[getattr(result, name) for name in columns] for result in self.results]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes, for other programs.

        Returns:
            `schema` (1), `summary`, `causes` (names of failures, then of warnings, that no other
            result explains) and `checks`, step by step. Each check has `name`, `title`, `step`
            (1 to 5), `status` ("pass", "warning", "fail", "not_applicable" or "not_run"), `seen`,
            `expected`, `remedy`, `why`, `source`, `seconds`, `at` (the training step that comes
            next), `cause` (name of the check that explains it, or None) and `settings` (values
            of controls that `dbg.set` takes, where that is the remedy).
        """
        return {
            "schema": SCHEMA_VERSION,
            "summary": self.summary,
            "causes": [result.name for result in self.causes],
            "checks": [_plain(result) for result in self.results],
        }

    def __str__(self) -> str:
        lines = [self.summary]
        for step, results in self._steps():
            lines += ["", f"{step}. {CHECKLIST_STEPS[step]}"]
            lines += [line for result in results for line in _text(result)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return page(self.results, self.summary)

    @property
    def summary(self) -> str:
        """Number of checks by status, and the first one to look at."""
        counts = {s: sum(r.status == s for r in self.results) for s in STATUS_ORDER}
        said = ", ".join(f"{n} {STATUS_LABELS[s]}" for s, n in counts.items() if n)
        first = f" Look first at: {self.causes[0].title}." if self.causes else ""
        return f"Checklist: {said or 'no checks were run'}.{first}"

    def _steps(self) -> Iterator[tuple[int, list[CheckResult]]]:
        for step in CHECKLIST_STEPS:
            results = [result for result in self.results if result.step == step]
            if results:
                yield step, results


def _plain(result: CheckResult) -> dict[str, Any]:
    told = ("name", "title", "step", "status", "seen", "expected", "remedy", "why", "source",
            "seconds", "at")  # fmt: skip
    proposal = result.proposal
    return {
        **{name: plain(getattr(result, name)) for name in told},
        "cause": result.cause or None,
        "settings": {} if proposal is None else {proposal.control: plain(proposal.value)},
    }


def _explained(result: CheckResult, by_name: Mapping[str, CheckResult]) -> CheckResult:
    """Link a result to the root cause that explains it, if there is one."""
    cause = _root(result, by_name)
    if cause is None:
        return replace(result, because="", cause="")
    return replace(result, because=cause.title, cause=cause.name)


def _root(result: CheckResult, by_name: Mapping[str, CheckResult]) -> CheckResult | None:
    """Find the bad result at the root of a bad one; None if the result is a root itself."""
    seen = [result]
    while result.status in BAD_STATUSES:
        above = [r for r in by_name.values() if _explains(r, result)]
        if not above:
            break
        result = above[0]
        if result in seen:
            # They explain each other: neither is hidden.
            return None
        seen.append(result)
    return result if len(seen) > 1 else None


def _explains(cause: CheckResult, result: CheckResult) -> bool:
    if cause.status not in BAD_STATUSES or cause.raised:
        return False
    return result.name in cause.explains or (result.raised and "*" in cause.explains)


def _text(result: CheckResult) -> Iterator[str]:
    yield f"  {STATUS_SIGNS[result.status]} {result.title}: {result.seen}"
    if result.status not in BAD_STATUSES:
        return
    if result.because:
        yield f"      follows from: {result.because}"
        return
    if result.expected:
        yield f"      expected: {result.expected}"
    if result.remedy:
        yield f"      to do: {result.remedy}"
