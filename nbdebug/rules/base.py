"""The contract of a rule: it reads a Snapshot and says what looks sick."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array, Severity
from nbdebug.core.results.findings import Finding, Symptom
from nbdebug.core.series import Series

EVIDENCE = 100
RECENT = 64


class Rule(ABC):
    """Looks for one symptom. Pure: the same Snapshot gives the same answer.

    The docstring is what the user reads: the first line says what it is, the rest why it
    happens. Thresholds are attributes of the class.

    Attributes:
        name: unique; title: in words.
        severity: error for a proof, warning for what is relative to a baseline.
        source: where the rule and its thresholds are from.
        needs: series that it judges by; without one of them it cannot. A name comes whole, of a
            pattern (`dead/*`) the last 64 buckets come.
        wants: series that it takes into account where there are any.
        harms: whether what it finds stays done (weights that were thrown far away): a remedy is
            tried from before it then.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    severity: ClassVar[Severity] = "warning"
    needs: ClassVar[tuple[str, ...]] = ()
    wants: ClassVar[tuple[str, ...]] = ()
    harms: ClassVar[bool] = False

    @abstractmethod
    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        """What was seen, None when nothing looks sick."""

    @staticmethod
    @abstractmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        """One in which it must fire, and one in which it must not."""

    def finding(self, symptom: Symptom) -> Finding:
        """The symptom as a finding."""
        why = (inspect.getdoc(type(self)) or "").partition("\n\nFalse alarms:")[0]
        return Finding(
            self.name, self.title, self.severity, symptom.since, symptom.value,
            symptom.threshold, symptom.seen, " ".join(why.split()), symptom.remedies,
            self.source, symptom.evidence, harms=self.harms,
        )  # fmt: skip


def shown(values: Array) -> tuple[float, ...]:
    """Numbers [N] as evidence: the mean of neighbours where there are more than 100."""
    if not len(values):
        return ()
    parts = np.array_split(values, min(len(values), EVIDENCE))
    return tuple(float(part.mean()) for part in parts)


def group(snapshot: Snapshot, name: str, last: int) -> dict[str, Series]:
    """Series `name/<member>` that have `last` finite newest buckets, cut to these, by member."""
    found = {}
    for full, series in snapshot.series.items():
        if full.startswith(f"{name}/") and len(series) >= last:
            part = series.part(np.arange(len(series)) >= len(series) - last)
            if np.isfinite(part.mean).all():
                found[full.partition("/")[2]] = part
    return found


def weights(snapshot: Snapshot, name: str, last: int) -> list[Series]:
    """As `group`, of all parameters but biases, from input to output."""
    return [s for member, s in group(snapshot, name, last).items() if "bias" not in member]


def listed(names: Iterable[str]) -> str:
    """The first three of some names."""
    known = list(names)
    return ", ".join(known[:3]) + (", ..." if len(known) > 3 else "")


def progress(snapshot: Snapshot) -> float:
    """The loss of the newest tenth of the steps over that of the first ones, by their medians.

    1.0 while there are fewer than 20 buckets, or where the loss began at or below 0.
    """
    loss = snapshot.series["loss"].mean
    if len(loss) < 20:
        return 1.0
    part = max(5, len(loss) // 20)
    first, now = np.median(loss[:part]), np.median(loss[-2 * part :])
    return float(now / first) if first > 0 else 1.0
