"""Base class of rules: a rule detects one symptom in a Snapshot of a training."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.records import Array
from nbdebug.core.results.findings import Finding, FindingSeverity, Symptom
from nbdebug.core.series import Series

MAX_EVIDENCE_POINTS = 100
RECENT_BUCKETS = 64


class Rule(ABC):
    """Detects one symptom. A rule is pure: the same Snapshot gives the same result.

    The docstring of a rule is the text that the user reads: the first line describes the
    symptom, the rest tells why it happens. Thresholds are attributes of the class; `PATIENCE` is
    the number of latest measurements that are judged.

    Attributes:
        name: unique name; title: short title.
        severity: "error" for a proven fault, "warning" for a comparison with a threshold; a symptom
            may have a lower one.
        source: paper or documentation that describes the rule and its thresholds.
        needs: required series; without one of them the rule is not evaluated. A name gives the
            whole series, a pattern (`dead/*`) gives the last 64 buckets of each match.
        wants: optional series, in the same form.
        harms: the symptom damages the weights permanently, so a remedy is tried from a
            checkpoint before the symptom.
        explains_others: the rule tells only why there are other findings; alone it is none.
        asks: names of checks that may tell why; they run by themselves where the finding has no
            other cause and training can afford them.
        only_explained: the finding is shown only under one that explains it.
        falls: the rule takes for granted that the loss is to fall; it is not evaluated where
            several optimizers follow losses of their own, as those of a GAN.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    severity: ClassVar[FindingSeverity] = "warning"
    needs: ClassVar[tuple[str, ...]] = ()
    wants: ClassVar[tuple[str, ...]] = ()
    harms: ClassVar[bool] = False
    explains_others: ClassVar[bool] = False
    only_explained: ClassVar[bool] = False
    asks: ClassVar[tuple[str, ...]] = ()
    falls: ClassVar[bool] = False

    @abstractmethod
    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        """Evaluate the rule; returns None if the symptom is absent."""

    @staticmethod
    @abstractmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        """One snapshot in which the rule must fire, and one in which it must not."""

    def finding(self, symptom: Symptom) -> Finding:
        """Make a finding from a symptom."""
        why = (inspect.getdoc(type(self)) or "").partition("\n\nFalse alarms:")[0]
        return Finding(
            self.name, self.title, symptom.severity or self.severity, symptom.since, symptom.value,
            symptom.threshold, symptom.seen, " ".join(why.split()), symptom.remedies,
            self.source, symptom.evidence, harms=self.harms, layers=symptom.layers,
        )  # fmt: skip


def downsampled(values: Array) -> tuple[float, ...]:
    """Reduce numbers [N] to at most 100 by averaging neighbours, as evidence of a finding."""
    if not len(values):
        return ()
    parts = np.array_split(values, min(len(values), MAX_EVIDENCE_POINTS))
    return tuple(float(part.mean()) for part in parts)


def group_series(snapshot: Snapshot, name: str, last: int) -> dict[str, Series]:
    """The last `last` buckets of each series `name/<member>`, by member, if all are finite.

    Members with fewer buckets since the last change of a setting are left out.
    """
    found, others = {}, {f"{name}/{one}" for one in snapshot.optimizers}
    for full, series in snapshot.series.items():
        if full.startswith(f"{name}/") and full not in others and len(series) >= last:
            part = series.part(np.arange(len(series)) >= len(series) - last)
            if np.isfinite(part.mean).all() and part.step[0] >= snapshot.changed_at:
                found[full.partition("/")[2]] = part
    return found


def weight_series(snapshot: Snapshot, name: str, last: int) -> list[Series]:
    """Series of `group_series` from input to output, without those of biases."""
    return [s for member, s in group_series(snapshot, name, last).items() if "bias" not in member]


def owners(parameters: Iterable[str]) -> tuple[str, ...]:
    """Layers of parameters, or of series such as `grad_norm/0.weight`, each once."""
    names = (name.partition("/")[2] or name for name in parameters)
    return tuple(dict.fromkeys(name.rpartition(".")[0] for name in names))


def first_names(names: Iterable[str]) -> str:
    """Text with the first three names."""
    known = list(names)
    return ", ".join(known[:3]) + (", ..." if len(known) > 3 else "")


def remaining_loss(snapshot: Snapshot) -> float:
    """Ratio of the median loss of the last tenth of the steps to that of the first steps.

    The ratio is 1.0 if there are fewer than 20 buckets, or if the initial loss is not positive.
    """
    loss = snapshot.series["loss"].mean
    if len(loss) < 20:
        return 1.0
    part = max(5, len(loss) // 20)
    first, now = np.median(loss[:part]), np.median(loss[-2 * part :])
    return float(now / first) if first > 0 else 1.0
