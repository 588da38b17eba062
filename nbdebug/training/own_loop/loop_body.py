"""The user's loop as the body of a step: what it does between two batches is one step."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.commands.queue import Ticket
from nbdebug.core.contexts import contextmanager
from nbdebug.core.ipython import ipython_shell
from nbdebug.core.records import Attendance, Notice, Severity
from nbdebug.core.results.metric_names import LoopSchedule
from nbdebug.errors import LoopLeft
from nbdebug.model.joint_optimizer import members_of
from nbdebug.model.module.forward import leaves
from nbdebug.model.schedule.beside import names
from nbdebug.training.data.batch import Batch
from nbdebug.training.data.loops.positions import Updates
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.stopping.breakpoints import Break
from nbdebug.training.engine.stopping.stop_report import nonfinite_error
from nbdebug.training.engine.updating.step_body import StepLoop, Values
from nbdebug.training.own_loop import messages as say
from nbdebug.training.own_loop.looks import Looks
from nbdebug.training.own_loop.meeting.handoff import Handoff
from nbdebug.training.own_loop.others import OTHER, ByHand
from nbdebug.training.own_loop.state.before_step import AtStop, BeforeStep
from nbdebug.training.own_loop.state.loop_state import LoopState
from nbdebug.training.own_loop.torch_calls import TorchCalls
from nbdebug.training.own_loop.updates import LoopUpdates

MAX_BATCHES = 1000


class LoopBody(Handoff):
    """Makes the update of a step by giving batches to the user's loop.

    A step ends with the batch in which an optimizer made its update.

    Attributes:
        step: number of the step; updates: what is seen of it; looks: batches without an update.
        unavailable: controls that a loop cannot take, and why; planned: epochs that it asked for.
        schedulers: that step on its optimizer, None to find those that the loop reaches.
        let_run: called when a loop begins, while `begins`; started: what it returned last.
    """

    unavailable: Mapping[str, str] = say.UNAVAILABLE
    schedulers: Sequence[LRScheduler] | None = None
    no_reset = why_not = ""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        given, repeats, state = lambda: self._given[-1], lambda: self.repeats, lambda: self._state
        self.updates = LoopUpdates(given, repeats, state)
        self.calls = TorchCalls(self.updates, members_of(optimizer))
        self._loop: Loop | None = None
        self.step = self.planned = 0
        self.let_run: Callable[[], Ticket | None] = lambda: None
        self.started: Ticket | None = None
        self._begun: Callable[[], None] | None = None
        self._given: list[Batch] = []
        self.looks, self._by_hand, self.at_end = Looks(self), ByHand(), self._see_end
        # True in a pass after whose last step was no validation.
        self._open, self.begins, self.state = False, False, LoopState(lambda: self._frames)

    def attach(self, loop: Loop, begun: Callable[[], None]) -> None:
        """Set the loop of the training, and what is called when the user's loop first begins."""
        self._loop, self._begun = loop, begun
        self.updates.attach(loop, lambda: AtStop(loop.session))

    def close(self) -> None:
        self.calls.release()
        self.updates.close()
        super().close()

    @property
    def loop(self) -> Loop:
        assert self._loop is not None
        return self._loop

    @property
    def sampler(self) -> LoopSampler:
        sampler = self.loop.session.sampler
        assert isinstance(sampler, LoopSampler)
        return sampler

    @property
    def repeats(self) -> bool:
        return self.sampler.repeats

    @property
    def attended(self) -> bool:
        """False for one of several ranks, and in the main thread of a script, nobody attached."""
        attached = self.loop.history.results.of(Attendance, Attendance()).names
        alone, main = not self.state.together, threading.main_thread().ident
        return alone and (bool(attached) or self.thread != main or ipython_shell() is not None)

    def give(self, batch: Any) -> None:
        self.state.runs += 1
        self.state.let_go()
        super().give(batch)

    def begin_pass(self, loader: Any) -> None:
        fresh = self.begins = not self.runs
        around, again = self.frames_of(sys._getframe(1)), not isinstance(loader, Updates)
        if again and self.state.begin_pass(around, fresh, isinstance(loader, Iterator)):
            self._say("info", say.NOTHING_AGAIN, self.state.why_not)
        self.why_not = self.state.why_not
        self.updates.order.begin_pass(loader, self.state.runs, self.cut)
        super().begin_pass(loader)
        if fresh:
            self.updates.seen.begin(self.loop.session.model)
            self.started, self.begins = self.let_run(), False

    def _see_end(self) -> None:
        self.updates.leave()
        self.state.end()

    @property
    def epoch(self) -> int:
        return self._given[-1].epoch if self._given else self.sampler.completed

    def read_again(self, before: Any) -> bool:
        if several := len(self._given) > 1:
            self.sampler.go_back(before, self.loop.session.surroundings.capture_records().restore)
        return several

    def late_stop(self) -> Break | None:
        stop, self.updates.stop = self.updates.stop, None
        return stop

    def let_go(self) -> None:
        self.sampler.let_go()

    def came_back(self) -> None:
        self.sampler.take_over()

    def is_ready(self) -> bool:
        if not super().is_ready():
            return False
        if self.cut:
            # The batch of a step that failed belongs to the pass that was left.
            self.loop.batch = None
            self.pass_ends()
        if self._begun is not None:
            self.sampler.learn()
            self._begun()
            self._begun = None
            self._say_at_the_beginning()
        return self.loop.batch is not None or self.sampler.prepare()

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.without_beginning():
            if self._state == "begins" and not self.cut:
                # What fails here fails again when the step is made.
                with suppress(Exception):
                    self.is_ready()
            yield

    def pass_ends(self) -> None:
        """Validate after a pass whose last batch was not known to be the last one.

        Raises:
            Exception: whatever the validation raised.
        """
        if self._open and self.loop.session.validation is not None:
            self._open = False
            self.loop.after_update.end_epoch()
            self.loop.finish_step()
            self.loop.after_update.raise_failure()

    def _say_at_the_beginning(self) -> None:
        """See if the loop steps schedulers by itself or blocks its cell; say so if it matters."""
        session = self.loop.session
        found = session.loop_schedulers()
        self.loop.history.set_result(LoopSchedule(names(found) if found else ""))
        if self.thread == threading.main_thread().ident and ipython_shell() is not None:
            self._say("info", *say.BLOCKS_CELL)
        if found and session.schedule.running:
            text = say.TWO_SCHEDULES.format(names(found), session.schedule.plan.kind)
            self._say("warning", "Two schedules set lr", text)

    def _say(self, severity: Severity, title: str, text: str) -> None:
        self.loop.history.add_notice(Notice(self.loop.session.step, severity, title, text))

    @property
    def on_trial(self) -> bool:
        """True while the loop repeats or tries steps, which count nowhere."""
        return self.updates.looks or not self.updates.watched

    def passing(self) -> list[Any]:
        """The last batch and its parts, which are no state."""
        given = [batch.data for batch in self._given[-1:]] + [self.looks.data]
        return [part for data in given for part in (data, *leaves(data))]

    def make_update(self, loop: StepLoop, batch: Batch, watched: bool) -> Values:
        """Let the loop make an update; see `StepBody`.

        Raises:
            LoopLeft: the loop was left before its update.
            NonFiniteError, Break: the update was left out.
        """
        updates, session = self.updates, loop.session
        updates.clear(watched)
        self.step, may_stop = session.step, bool(watched and loop.breakpoints and self.repeats)
        before = BeforeStep(session, updates.carry_gradients, may_stop, batch.data)
        self._give_until_updated(batch)
        if updates.skipped:
            before.restore_gradients()
        if updates.stop is not None and self.repeats:
            loop.put_back = before.restore(updates.at_stop)
            loop.updating = not loop.put_back  # The body changed weights by hand before it.
            raise updates.stop
        if updates.skipped:
            loop.batch = None
            # Another update of this step may have been made before.
            loop.updating = updates.updated
            kept = loop.breakpoints if watched else None
            raise nonfinite_error(session, kept, self._given[-1], updates.values[0])
        values = updates.result()
        updates.stop_late(values)
        return values

    def whole(self, batch: Batch) -> Batch:
        """All batches of the last step as one: the samples of all, the progress of the last."""
        last = self._given[-1]
        self._open = last.progress != 1.0 if self.updates.watched else self._open
        return Batch(last.data, sum(b.samples for b in self._given), last.epoch, last.progress)

    def without_update(self) -> str:
        return say.NO_UPDATE.format(len(self._given))

    def _loop_thread(self) -> int:
        self.next_loader()
        return self.thread or 0

    def _give_until_updated(self, batch: Batch) -> None:
        self._given, updates = [batch], self.updates
        updates.by_hand = self._by_hand.begins(self.step, self.loop.session.parameters)
        try:
            self._give(batch)
            while not (updates.updated or updates.skipped or self._goes_without()):
                self._given.append(self.loop.session.sampler.next())
                self._give(self._given[-1])
        except LoopLeft as left:
            if updates.updated:  # An update counts where the step is left behind it.
                return
            updates.order.end_without(self.step)
            if self.step or left.__cause__ is not None:
                raise
            self._by_hand.tell_at_end(len(self._given), updates.tell)
            raise LoopLeft(self.without_update()) from None

    def _goes_without(self) -> bool:
        """See if this step ends without an update of an optimizer; called after each batch.

        Raises:
            LoopLeft: the loop seems to make none.
        """
        self.updates.order.goes_without(self.step, given := len(self._given))
        if self._by_hand.seen(given, self.step, self.loop.session.parameters):
            self.updates.count_by_hand()
        elif given == MAX_BATCHES:
            if self.attended:
                raise LoopLeft(self.without_update())
            self.updates.tell(OTHER, self.without_update())  # Nobody could press Run.
        else:
            return self.updates.updated
        return True

    def _give(self, batch: Batch) -> None:
        with self.calls.seen(self._loop_thread()), self.sampler.written.seen(batch.data):
            self.give(batch.data)
        if self.updates.by_hand and not self.updates.updated:
            self.updates.count_by_hand()

    def look(self, model: nn.Module, data: Any) -> torch.Tensor:
        """Loss of a batch, as the loop computes it; its gradients and its update are left out.

        Raises:
            LoopLeft: no loop runs, or it has no backward pass, no loader or no such batch.
        """
        return self.looks.loss(model, data)

    def end_looks(self) -> None:
        self.looks.finish()

    def give_modes(self, data: Any) -> None:
        with self.calls.seen(self._loop_thread()), self._modes.carried():
            self.give(data)
