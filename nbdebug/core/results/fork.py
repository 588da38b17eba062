"""Handle of a fork: its trials, to keep or to discard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbdebug.core.records import Array
from nbdebug.core.results.findings import Findings
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.core.results.fork_table import fork_table, fork_title, rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Fork:
    """The same steps with and without a change; training itself stays where it is.

    Attributes:
        base, changed: loss [N] of each step, without and with the (first) change.
        difference: [N] changed minus base, on the same batches and dropout masks.
    """

    result: ForkResult
    _keep: Callable[[int], None] = field(repr=False)

    @property
    def base(self) -> Array:
        return self.result.base.loss

    @property
    def changed(self) -> Array:
        return self.result.trials[0].loss

    @property
    def difference(self) -> Array:
        return self.result.difference(self.result.trials[0])

    @property
    def interval(self) -> tuple[float, float, float]:
        """Mean difference over the second half of the steps, and its 95 % interval."""
        return self.result.interval(self.result.trials[0])

    @property
    def cured(self) -> bool | None:
        """Tell if the (first) change cures the finding that the fork was made for.

        The answer is None if no finding was named, if the base does not have the finding
        either, if there is too little data, or if the finding is gone but no loss is lower.
        """
        return self.result.cured(self.result.trials[0])

    @property
    def findings(self) -> Findings:
        """Findings at the end with the (first) change."""
        return self.result.trials[0].findings

    def keep(self, which: int = 0) -> None:
        """Rewind to the fork, apply a change there and train its steps.

        Args:
            which: number of the trial.

        Raises:
            ArgumentError: there is no such trial.
        """
        self._keep(which)

    def discard(self) -> None:
        """Leave training as it is; there is nothing to undo."""

    def frame(self) -> pd.DataFrame:
        """Return the losses, one row per step, one column per trial."""
        import pandas as pd

        first = self.result.step
        index = pd.RangeIndex(first, first + self.result.steps, name="step")
        trials = (self.result.base, *self.result.trials)
        return pd.DataFrame({trial.label: trial.loss for trial in trials}, index=index)

    def __repr__(self) -> str:
        table = [" | ".join(row) for row in rows(self.result)]
        return "\n".join([fork_title(self.result), *table, *self.result.notes])

    def _repr_html_(self) -> str:
        return fork_table(self.result)
