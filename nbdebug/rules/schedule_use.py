"""Detects a scheduler that does not do what it was made for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nbdebug.core.history.snapshot import Snapshot
from nbdebug.core.results.findings import Remedy, Symptom
from nbdebug.core.results.metric_names import LoopSchedulers, SchedulerUse
from nbdebug.rules._examples import example, falling_loss
from nbdebug.rules.base import Rule

EACH_STEP = "Call its step() once per epoch, after the loop over the batches"
EACH_EPOCH = "Call its step() after each optimizer.step(), inside the loop over the batches"


class ScheduleUse(Rule):
    """A scheduler is not stepped, counts something else than its steps, or multiplies two rates.

    A scheduler counts its own calls: one that was made for epochs and is stepped after each batch
    comes to its end within an epoch; one that was made for batches and is stepped once per epoch
    hardly begins. The function of LambdaLR returns a factor of the base learning rate: one that
    returns a learning rate makes the product of both. A scheduler changes the optimizer that it
    was given, and no other one.

    False alarms: 0 of 144 healthy trainings.
    """

    name = "schedule_use"
    title = "The scheduler does not do what it was made for"
    source = "PyTorch, How to adjust learning rate; counted: its steps, updates and epochs"

    MIN_UPDATES, MIN_EPOCHS, MIN_IDLE_EPOCHS, MIN_IDLE_UPDATES = 20, 1.9, 10.0, 1000
    MIN_BATCHES = 8.0
    EACH_SHARE, AGREES, AGREES_BY_CHANCE, LONGER = 0.9, 0.1, 0.02, 5.0
    ENDED_SHARE = 0.05
    MAX_RATE_FACTOR, MAX_BASE, EQUAL = 0.05, 0.3, 1e-3

    def diagnose(self, snapshot: Snapshot) -> Symptom | None:
        found, status = snapshot.results.of(LoopSchedulers), snapshot.status
        if found is None or found.step > status.step:
            return None
        for one in found.each:
            for symptom in self._of(one, status.step if status.finished else 0):
                return replace(symptom, since=found.step)
        return None

    def _of(self, one: SchedulerUse, finished: int) -> Iterator[Symptom]:
        if one.updates < self.MIN_UPDATES:
            return
        per_epoch = one.updates / one.epochs if one.epochs else 0.0
        if one.beside:
            yield from self._beside(one, finished)
            return
        yield from self._product(one)
        if not one.moves:
            yield from self._idle(one, finished)
        elif per_epoch >= self.MIN_BATCHES:
            yield from self._too_fast(one, per_epoch)
            yield from self._too_slow(one, per_epoch, finished)

    def _product(self, one: SchedulerUse) -> Iterator[Symptom]:
        """A function of LambdaLR that returns a rate."""
        small = 0 < one.highest <= self.MAX_RATE_FACTOR
        same = abs(one.highest - one.base) <= self.EQUAL * one.base and one.highest < 1
        if not (small or same) or not 0 < one.base <= self.MAX_BASE:
            return
        seen = f"The function of {one.kind} returns {one.highest:.3g} at most (at its step "
        seen += (
            f"{one.peak:,}), as a learning rate does; it multiplies the base rate {one.base:.3g}"
        )
        seen += f": the highest rate is {one.highest * one.base:.3g}, {one.rate:.3g} is in force."
        yield Symptom(
            one.highest * one.base, one.highest, 0, seen,
            (
                Remedy("Give the optimizer lr=1.0 before the scheduler is made, or let the "
                       "function return a factor: divide it by the base rate"),
            ),
        )  # fmt: skip

    def _idle(self, one: SchedulerUse, finished: int) -> Iterator[Symptom]:
        """A scheduler that nobody steps."""
        long = one.epochs >= self.MIN_IDLE_EPOCHS or one.updates >= self.MIN_IDLE_UPDATES
        if one.epochs:
            long = one.epochs >= (self.MIN_EPOCHS if finished else self.MIN_IDLE_EPOCHS)
        if one.relieved or not long:
            return
        seen = f"{one.kind} was not stepped in {one.updates:,} updates"
        seen += f" ({one.epochs:.3g} epochs)" if one.epochs else ""
        seen += f": the learning rate stays at {one.rate:.3g}."
        yield Symptom(
            0.0, 1.0, 0, seen, (Remedy("Call its step() in the loop, or do not make it"),)
        )

    def _beside(self, one: SchedulerUse, finished: int) -> Iterator[Symptom]:
        """A scheduler of an optimizer that makes no update."""
        if one.moves < (2 if finished else self.MIN_UPDATES):
            return
        seen = f"{one.kind} is stepped, but its optimizer makes no update: it was made for another "
        seen += f"one than the optimizer that trains. Its rate, {one.rate:.3g}, reaches no weight."
        remedy = Remedy("Make the scheduler again, after the optimizer that trains, and from that")
        yield Symptom(float(one.moves), 1.0, 0, seen, (remedy,))

    def _too_fast(self, one: SchedulerUse, per_epoch: float) -> Iterator[Symptom]:
        """A scheduler of epochs that is stepped after each batch, and goes round and round."""
        each = one.moves >= self.EACH_SHARE * (one.updates - 1)
        ended = one.lowest <= self.ENDED_SHARE * one.largest
        if not (each and ended and 0 < 2 * one.total <= min(per_epoch, one.count)):
            return
        seen = f"{one.kind} was made for {one.total:,} steps and is stepped after each of "
        seen += f"{per_epoch:.0f} batches of an epoch: it came to its end "
        seen += f"{one.count // one.total} times in {one.epochs:.2g} epochs, and the learning rate "
        seen += f"goes to {one.lowest:.3g} and back to {one.largest:.3g}."
        yield Symptom(float(one.count), float(one.total), 0, seen, (Remedy(EACH_STEP),))

    def _too_slow(self, one: SchedulerUse, per_epoch: float, finished: int) -> Iterator[Symptom]:
        """A scheduler of batches that is stepped once per epoch, and hardly begins."""
        # Who ended early may have come to the number of its epochs by chance.
        close = self.AGREES if one.planned else self.AGREES_BY_CHANCE
        all_updates = one.planned * per_epoch or float(finished)
        if one.moves > one.epochs + 1 or one.epochs < self.MIN_EPOCHS or not all_updates:
            return
        steps = max(all_updates / per_epoch, float(one.count))
        fits = abs(one.total - all_updates) <= close * all_updates
        rises = one.planned and steps < one.peak <= all_updates
        if not rises and not (fits and one.total >= self.LONGER * steps):
            return
        what = f"for {one.total:,} steps" if fits else f"to rise for {one.peak:,} steps"
        seen = f"{one.kind} was made {what}, as many as there are batches in all, and is stepped "
        seen += (
            f"once per epoch: {one.count:,} times in {one.epochs:.3g} epochs. The learning rate "
        )
        seen += f"was {one.lowest:.3g} to {one.largest:.3g} so far."
        yield Symptom(float(one.count), float(one.total), 0, seen, (Remedy(EACH_EPOCH),))

    @staticmethod
    def examples() -> tuple[Snapshot, Snapshot]:
        loss = {"loss": falling_loss(2.3, 0.5)}
        noam = SchedulerUse(
            "LambdaLR", 400, 399, 400, 4.0, 10, 0, 400, 4e-3, 1e-3, 4e-6, 1e-8, 4e-6, False, False
        )
        whole = replace(noam, highest=1.0, rate=1e-3, largest=1e-3)
        return (
            example(loss, [LoopSchedulers(390, (noam,))]),
            example(loss, [LoopSchedulers(390, (whole,))]),
        )
