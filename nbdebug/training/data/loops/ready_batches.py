"""Ready batches, such as those of a list, that step_fn writes into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from nbdebug.core.contexts import contextmanager
from nbdebug.training.data.batch import Batch
from nbdebug.training.data.loops.kept_batches import KeptBatches
from nbdebug.training.data.loops.written_batches import (
    FIRST_BATCHES,
    WrittenBatches,
)

NOTHING: AbstractContextManager[None] = nullcontext()


class ReadyBatches:
    """Puts back what looks, trials and steps that fail write into batches that somebody keeps.

    A step writes into its batch as in a plain loop. A checkpoint has a copy of what was written,
    for which copies are made before the first steps; see `WrittenBatches`.

    Args:
        sources: of batches; nothing is done where all of them make batches anew.

    Attributes:
        written: tells which batches the steps write into.
        left: True if the last step that failed wrote into a batch without a copy.
    """

    def __init__(self, sources: Sequence[Any]) -> None:
        self._sources = sources
        self.written = WrittenBatches(lambda: self, lambda: bool(self._trials))
        self._trials: list[KeptBatches] = []
        self._looked_at, self._in_step, self._validates = KeptBatches(), False, False
        self._quiet = 0
        self.left = False

    @property
    def _kept(self) -> bool:
        return any(source.kept for source in self._sources)

    def step(self, batch: Batch, armed: bool) -> AbstractContextManager[None]:
        """Context of a step, which puts its batch back if it fails; `armed`: it may be stopped."""
        self.left = False
        return self._step(batch, armed) if self._kept else NOTHING

    @contextmanager
    def _step(self, batch: Batch, armed: bool) -> Iterator[None]:
        self.end_looks()
        data, before = batch.data, KeptBatches()
        before.see(data, armed or self.written.may_be)
        for trial in self._trials:
            trial.see(data)
        self._in_step, late = True, self.written.late()
        try:
            with self.written.seen(data):
                yield
        except BaseException:
            self.written.adopt(before, late)
            before.restore()
            self.left = bool(self.written.late() - late)
            raise
        else:
            self.written.adopt(before, late)
        finally:
            self._in_step = False

    def look(self, batch: Any) -> None:
        """Copy a batch that is computed outside of a step, until `end_looks`."""
        if not self._kept or self._in_step:
            return
        # Validations are many, and a step_fn that writes into its batches does so at once.
        if not (self._validates and self._quiet >= FIRST_BATCHES and not self.written.may_be):
            self._looked_at.see(batch)

    def end_looks(self) -> None:
        """Put back what was written into batches outside of steps."""
        if self._looked_at:
            self._quiet = 0 if self._looked_at.restore() else self._quiet + 1

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Context of a validation."""
        self.end_looks()
        self._validates = True
        try:
            yield
        finally:
            self._validates = False
            self.end_looks()

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Context of steps on trial, whose batches go back."""
        self._trials.append(KeptBatches())
        try:
            yield
        finally:
            self.end_trial(False)
            self._trials.pop()

    def end_trial(self, keep: bool) -> None:
        """Put back what the steps on trial wrote into batches, unless they are kept."""
        self.end_looks()
        (self._trials[-1].clear if keep else self._trials[-1].restore)()
