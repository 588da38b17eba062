"""Findings of the rules: problems seen while a model trains."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from nbdebug.core.results.plain import SCHEMA_VERSION, plain, thinned

if TYPE_CHECKING:
    import pandas as pd

FindingSeverity = Literal["error", "warning"]
SEVERITIES: tuple[FindingSeverity, ...] = ("error", "warning")


@dataclass(frozen=True)
class Remedy:
    """Recommended action for a finding.

    Attributes:
        settings: values of controls to set, by name; empty if no control helps.
    """

    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Symptom:
    """Evidence of a problem, as a rule reports it.

    Attributes:
        value, threshold: the measured value and the limit it is compared with.
        since: first step of the problem.
        seen: value and threshold in a sentence.
        remedies: recommended actions, the most likely one first.
        evidence: up to 100 numbers that show the problem, the latest last.
        severity: "warning" if this case is no proof, though the rule can prove others.
        layers: names of the layers where the problem is.
    """

    value: float
    threshold: float
    since: int
    seen: str
    remedies: tuple[Remedy, ...]
    evidence: tuple[float, ...] = ()
    severity: FindingSeverity | None = None
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One problem that a rule found.

    Attributes:
        name, title, severity, source: attributes of the rule.
        why: why the problem happens.
        because: title of the finding that explains this one, "" for a root cause; cause: the
            name of that finding.
        harms: whether the damage lasts, so that a remedy is tried from an earlier step.
        layers: names of the layers where the problem is.
        fired: step at which the rule fired first; `since` may lie before it. -1 if unknown.
    """

    name: str
    title: str
    severity: FindingSeverity
    since: int
    value: float
    threshold: float
    seen: str
    why: str
    remedies: tuple[Remedy, ...]
    source: str
    evidence: tuple[float, ...] = ()
    because: str = ""
    harms: bool = False
    cause: str = ""
    layers: tuple[str, ...] = ()
    fired: int = -1


@dataclass(frozen=True)
class Findings(Sequence[Finding]):
    """Findings in order: root causes first, errors before warnings, then consequences.

    Attributes:
        not_judged: rules without enough data, with the missing data.
        judged: False if there is no rule, so that nobody has looked.
    """

    found: tuple[Finding, ...] = ()
    not_judged: Mapping[str, str] = field(default_factory=dict)
    judged: bool = True

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, index: int | slice) -> Finding | tuple[Finding, ...]:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all findings, in order."""
        return tuple(finding.name for finding in self.found)

    @property
    def causes(self) -> tuple[Finding, ...]:
        """Findings that no other one explains."""
        return tuple(finding for finding in self.found if not finding.cause)

    def frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row per finding."""
        import pandas as pd

        columns = list(Finding.__dataclass_fields__)
        rows = [[getattr(finding, name) for name in columns] for finding in self.found]
        return pd.DataFrame(rows, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes, for other programs.

        Returns:
            `schema` (1), `summary`, `judged`, `not_judged` (missing data by rule) and `findings`,
            root causes first. Each finding has `name`, `title`, `severity` ("error" or
            "warning"), `since` and `fired` (steps), `value`, `threshold` (None for NaN and Inf),
            `seen`, `why`, `source`, `layers`, `harms`, `cause` (name of the finding that explains
            it, or None), `remedies` (each `text` and `settings`, which `dbg.set`, `dbg.fork` and
            `dbg.try_remedy` take) and `evidence` (at most 12 numbers, the latest last).
        """
        return {
            "schema": SCHEMA_VERSION,
            "summary": self.summary,
            "judged": self.judged,
            "not_judged": dict(self.not_judged),
            "findings": [_plain(finding) for finding in self.found],
        }

    @property
    def summary(self) -> str:
        """Number of findings, and of rules without enough data."""
        if not self.judged:
            return "No rules: nothing is judged."
        count = len(self.causes)
        said = "Nothing looks sick" if not count else f"{count} finding{'s' * (count > 1)}"
        rest = f"; {len(self.not_judged)} rules have nothing to judge by yet"
        return said + (rest if self.not_judged else "") + "."

    def __str__(self) -> str:
        lines = [self.summary]
        for cause in self.causes:
            lines += list(_text(cause))
            lines += [f"    explains: {f.title}: {f.seen}" for f in self.explained_by(cause)]
        return "\n".join(lines)

    __repr__ = __str__

    def explained_by(self, cause: Finding) -> tuple[Finding, ...]:
        """Return the findings that `cause` explains."""
        return tuple(finding for finding in self.found if finding.cause == cause.name)

    def _repr_html_(self) -> str:
        style = "white-space:pre-wrap;word-break:normal;overflow-wrap:normal"
        return f'<pre style="{style}">{html.escape(str(self))}</pre>'


class Rules(Protocol):
    """Rules of a training, wherever they are evaluated."""

    def look(self) -> Findings:
        """Evaluate the rules now and return their findings."""


def _plain(finding: Finding) -> dict[str, Any]:
    told = ("name", "title", "severity", "since", "fired", "value", "threshold", "seen", "why",
            "source", "layers", "harms")  # fmt: skip
    return {
        **{name: plain(getattr(finding, name)) for name in told},
        "cause": finding.cause or None,
        "remedies": [
            {"text": remedy.text, "settings": plain(remedy.settings)} for remedy in finding.remedies
        ],
        "evidence": thinned(finding.evidence),
    }


def _text(finding: Finding) -> Iterator[str]:
    yield f"  {finding.severity}, since step {finding.since:,}: {finding.title}. {finding.seen}"
    yield f"    why: {finding.why}"
    for remedy in finding.remedies:
        how = ", ".join(f"{name}={value!r}" for name, value in remedy.settings.items())
        yield f"    to do: {remedy.text}" + (f" (dbg.set({how}))" if how else "")
