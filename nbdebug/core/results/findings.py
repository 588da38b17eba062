"""What looks sick while a model trains."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from nbdebug.core.records import Severity

if TYPE_CHECKING:
    import pandas as pd

SEVERITIES: tuple[Severity, ...] = ("error", "warning")


@dataclass(frozen=True)
class Remedy:
    """What to do.

    Attributes:
        settings: controls to set, by name; empty where it is no matter of a control.
    """

    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Symptom:
    """What a rule saw.

    Attributes:
        value, threshold: what was seen and what it is held against.
        since: the step from which on it was so.
        seen: both in words.
        remedies: what to do, the likeliest first.
        evidence: up to 100 numbers that show it, the newest last.
    """

    value: float
    threshold: float
    since: int
    seen: str
    remedies: tuple[Remedy, ...]
    evidence: tuple[float, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that looks sick.

    Attributes:
        name, title, severity, source: of the rule.
        why: why it happens.
        because: title of the finding that explains this one, "" for a root cause; cause: the
            name of that finding.
        harms: whether what it did stays done, so that a remedy is tried from before it.
    """

    name: str
    title: str
    severity: Severity
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


@dataclass(frozen=True)
class Findings(Sequence[Finding]):
    """Root causes first, errors before warnings; then what follows from them.

    Attributes:
        not_judged: rules that could not judge, with what they lacked.
    """

    found: tuple[Finding, ...] = ()
    not_judged: Mapping[str, str] = field(default_factory=dict)

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
        """Names of all of them, in order."""
        return tuple(finding.name for finding in self.found)

    @property
    def causes(self) -> tuple[Finding, ...]:
        """Those that no other one explains."""
        return tuple(finding for finding in self.found if not finding.cause)

    def frame(self) -> pd.DataFrame:
        """One row a finding."""
        import pandas as pd

        columns = list(Finding.__dataclass_fields__)
        rows = [[getattr(finding, name) for name in columns] for finding in self.found]
        return pd.DataFrame(rows, columns=columns)

    @property
    def summary(self) -> str:
        """How many there are, and what could not be judged."""
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
        """What a finding explains."""
        return tuple(finding for finding in self.found if finding.cause == cause.name)

    def _repr_html_(self) -> str:
        style = "white-space:pre-wrap;word-break:normal;overflow-wrap:normal"
        return f'<pre style="{style}">{html.escape(str(self))}</pre>'


def _text(finding: Finding) -> Iterator[str]:
    yield f"  {finding.severity}, since step {finding.since:,}: {finding.title}. {finding.seen}"
    yield f"    why: {finding.why}"
    for remedy in finding.remedies:
        how = ", ".join(f"{name}={value!r}" for name, value in remedy.settings.items())
        yield f"    to do: {remedy.text}" + (f" (dbg.set({how}))" if how else "")
