"""Scheduling of probes within a cost budget, and their readings."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import torch

from nbdebug.core.contexts import contextmanager
from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.records import Histogram, Notice, Reading
from nbdebug.errors import PluginError
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Probe, Values
from nbdebug.training.engine.probing.contract import attach, measured
from nbdebug.training.engine.probing.floats import to_floats
from nbdebug.training.engine.probing.scheduled import AVERAGE_WEIGHT, ScheduledProbe, Stopwatch

MAX_INTERVAL = 10_000
MIN_BUDGET_SHARE = 0.15
# What is watched moves on the screen once a second, unless that costs more than this share.
REFRESH_SECONDS, MAX_REFRESH_SHARE = 1.0, 0.004
ReportNotice = Callable[[Notice], None]


class ProbeRunner:
    """All probes of a session.

    An expensive probe is due as often as its part of the budget allows: a share of the time of
    a bare step, less what every step and the cheap probes take, divided among the expensive
    ones. The first 16 measurements of each keep to its `every`, for at most 0.2 seconds in all:
    what is sick shows early. So do 5 from each change of a setting on, the first at once: what
    the change does shows, and no rule judges by what was before it. A probe that takes less
    than 4 ms runs at least once a second. A probe that raises is switched off.
    """

    def __init__(self, probes: Sequence[Probe], overhead: float, report: ReportNotice) -> None:
        self.scheduled = {probe.name: ScheduledProbe(probe) for probe in probes}
        self.overhead = overhead
        self._report = report
        self._due: list[ScheduledProbe] = []
        # Series of each probe, with those that History holds together with them.
        self._blocks: dict[str, dict[str, tuple[str, ...]]] = {}
        self._reserved: set[str] = set()
        self.stopwatch = Stopwatch()
        self.bare = self.fixed = 0.0
        self._dense = False

    def attach(self, session: TrainingState) -> None:
        """Attach every probe to the session."""
        for slot in self.scheduled.values():
            self._try(slot, 0, partial(attach, slot.probe, session))
            reads_parts = session.sharded and slot.probe.reads_weights
            slot.on = slot.on and not (slot.probe.idle or reads_parts)

    def follow(self, session: TrainingState) -> None:
        """Let session and probes take layers that the model has now; due probes measure later."""
        if not session.follow_model():
            return
        self.cancel()
        for slot in self.scheduled.values():
            probe, rested = slot.probe, slot.probe.idle
            if slot.on or rested or probe.on_demand:
                self._try(slot, 0, probe.follow)
                slot.on = not probe.idle and (slot.on or rested)

    def reserve(self, names: Iterable[str]) -> None:
        """Reserve names of series that no probe may use."""
        self._reserved.update(names)

    def watch(self, name: str, on: bool) -> None:
        """Switch an on-demand probe on or off."""
        slot = self.scheduled.get(name)
        if slot is not None and slot.probe.on_demand:
            slot.on, slot.next = on, 0

    def reset(self) -> None:
        """Make all probes due at the next step."""
        for slot in self.scheduled.values():
            slot.next = 0
            self._try(slot, 0, slot.probe.forget)

    def hasten(self, step: int) -> None:
        """Measure at this step and at the next few that are due: a setting has changed."""
        for slot in self.scheduled.values():
            slot.hasten(step)

    @contextmanager
    def at_full_rate(self) -> Iterator[None]:
        """Follow the `every` of all probes inside, without a budget.

        Afterwards the schedule is as before, also for a probe that failed inside.
        """
        plans, times = [slot.plan for slot in self.scheduled.values()], (self.bare, self.fixed)
        self._dense = True
        self.reset()
        try:
            yield
        finally:
            self._dense = False
            self.reset()
            self.bare, self.fixed = times
            for slot, plan in zip(self.scheduled.values(), plans, strict=True):
                slot.plan = plan

    def measure_once(self, name: str, step: int, work: Callable[[], None]) -> list[Histogram]:
        """Measure histograms with one probe during `work`; its schedule stays as it is."""
        slot, seconds = self.scheduled[name], self.stopwatch.seconds
        plan, self._due = slot.plan, [slot]
        try:
            self._each("begin", step)
            work()
            self._each("before_update", step)
            return self.read(step)[1]
        finally:
            self.cancel()
            slot.plan, self.stopwatch.seconds = plan, seconds

    def begin(self, step: int) -> bool:
        """Call the due probes before the forward pass; False without any."""
        self._due = [s for s in self.scheduled.values() if s.on and s.next <= step]
        self._each("begin", step)
        return bool(self._due)

    @property
    def read_outputs(self) -> bool:
        """True if a due probe reads outputs and targets."""
        return any(slot.probe.reads_outputs for slot in self._due)

    def before_backward(self, step: int) -> None:
        """Call the due probes between `zero_grad` and the backward pass."""
        if self._due:
            self._each("before_backward", step)

    def after_batch(self, step: int, samples: int) -> None:
        """Call the due probes after the backward pass of each batch of an accumulated step."""
        if self._due:
            self._each("after_batch", step, samples)

    def before_update(self, step: int) -> None:
        """Call the due probes before the optimizer's step."""
        if self._due:
            self._each("before_update", step)

    def read(self, step: int) -> tuple[list[Reading], list[Histogram]]:
        """Read the measurements of the due probes in one transfer to the host."""
        values: dict[str | tuple[str, ...], torch.Tensor | float] = {}
        for slot in list(self._due):
            start = time.perf_counter()
            values.update(self._try(slot, step, partial(self._read, slot.probe, step)) or {})
            slot.spent += time.perf_counter() - start
        with self.stopwatch:
            readings, histograms = _to_host(values, step)
        for slot in list(self._due):
            self._try(slot, step, slot.probe.cancel)
            if slot.probe.soon:
                slot.next = step + 1
                continue
            self.stopwatch.seconds += slot.charge()
            slot.next = step + self._interval(slot)
        self._due = []
        return readings, histograms

    def take_seconds(self) -> float:
        """Return the seconds spent on measurements since the last call."""
        spent, self.stopwatch.seconds = self.stopwatch.seconds, 0.0
        return spent

    def cancel(self) -> None:
        """Remove all hooks after an incomplete step."""
        for slot in list(self._due):
            self._try(slot, 0, slot.probe.cancel)
            slot.spent = slot.probe.inside = 0.0
        self._due = []

    def account_step(self, bare: float, fixed: float) -> None:
        """Add a step without a due probe to the averages.

        Args:
            bare: seconds without measurements; fixed: seconds of the per-step measurements.
        """
        weight = AVERAGE_WEIGHT if self.bare else 1.0
        self.bare += weight * (bare - self.bare)
        self.fixed += weight * (fixed - self.fixed)

    def _read(self, probe: Probe, step: int) -> Values:
        """Read a probe and check the names of its series."""
        values = probe.read(step)
        known = self._blocks.setdefault(probe.name, {})
        found: dict[str | tuple[str, ...], torch.Tensor | float] = {}
        for names, given in values.items():
            value, alone = measured(names, given), isinstance(names, str)
            each = (names,) if alone else names
            fresh = tuple(name for name in each if name not in known)
            if taken := self._reserved.intersection(fresh):
                raise PluginError(f"The series {min(taken)!r} is measured elsewhere")
            self._reserved.update(fresh)
            known.update(dict.fromkeys(fresh, fresh))
            if alone or known[each[0]] == each:
                found[names] = value
            else:
                found |= _by_block(each, torch.as_tensor(value), known)
        return found

    def _interval(self, slot: ScheduledProbe) -> int:
        if slot.probe.cost == "cheap" or not self.bare:
            return slot.probe.every
        if slot.dense or self._dense:
            return slot.probe.every
        on = [s for s in self.scheduled.values() if s.on]
        cheap = [s for s in on if s.probe.cost == "cheap"]
        fixed = self.fixed + sum(s.seconds / s.probe.every for s in cheap)
        budget = self.bare * self.overhead
        # If steps are so short that the fixed part fills the budget, a share stays reserved.
        allowed = max(budget - fixed, budget * MIN_BUDGET_SHARE) / (len(on) - len(cheap))
        wanted = MAX_INTERVAL if allowed <= 0 else math.ceil(slot.seconds / allowed)
        if slot.seconds <= REFRESH_SECONDS * MAX_REFRESH_SHARE:
            wanted = min(wanted, math.ceil(REFRESH_SECONDS / self.bare))
        return min(max(slot.probe.every, wanted), MAX_INTERVAL)

    def _each(self, method: str, *numbers: int) -> None:
        for slot in list(self._due):
            start = time.perf_counter()
            self._try(slot, numbers[0], partial(getattr(slot.probe, method), *numbers))
            slot.spent += time.perf_counter() - start

    def _try(
        self, slot: ScheduledProbe, step: int, call: Callable[[], Values | None]
    ) -> Values | None:
        try:
            return call()
        except BaseException as error:
            raise_interrupt(error)
            slot.on = False
            if slot in self._due:
                self._due.remove(slot)
            # A broken probe may even fail to clean up.
            with suppress(BaseException):
                slot.probe.cancel()
            rest = "The fork continues" if self._dense else "Training continues"
            text = f"{describe_error(error)}. {rest} without it."
            end = "in a fork" if self._dense else "and was switched off"
            title = f"The probe {slot.probe.name} failed {end}"
            self._report(Notice(step, "warning", title, text))
            return None


def _by_block(
    names: tuple[str, ...], values: torch.Tensor, blocks: Mapping[str, tuple[str, ...]]
) -> dict[str | tuple[str, ...], torch.Tensor | float]:
    """Values of layers that were exchanged, by the series that History holds together.

    A series whose layer is gone has NaN.
    """
    place = {name: at for at, name in enumerate(names)}
    padded = torch.cat([values.flatten(), values.new_full((1,), math.nan)])
    return {
        block: padded[[place.get(name, len(names)) for name in block]]
        for block in dict.fromkeys(blocks[name] for name in names)
    }


def _to_host(values: Values, step: int) -> tuple[list[Reading], list[Histogram]]:
    tensors = [value for value in values.values() if isinstance(value, torch.Tensor)]
    numbers = iter(to_floats(tensors))
    readings: list[Reading] = []
    histograms: list[Histogram] = []
    for key, value in values.items():
        size = value.numel() if isinstance(value, torch.Tensor) else 0
        row = [next(numbers) for _ in range(size)] or [float(value)]
        array = np.array(row)
        array.setflags(write=False)
        if isinstance(key, tuple):
            readings.append(Reading(key, array))
        elif size > 1:
            histograms.append(Histogram(key, step, row[0], row[1], array[2:]))
        else:
            readings.append(Reading((key,), array))
    return readings, histograms
