"""Runner of the checklist between two steps, which verifies that no check changed training."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks.base import Check
from nbdebug.core.error_text import describe_error, raise_interrupt
from nbdebug.core.history.history import History
from nbdebug.core.names import unknown_name
from nbdebug.core.records import Notice
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.checks.check_result import CheckResult, Outcome, Reason
from nbdebug.errors import CheckNameError, CheckStopped, LeftKind, LoopLeft, PluginError
from nbdebug.model.module.forward import to_device
from nbdebug.model.nonfinite import eager
from nbdebug.training.engine.loop import HOST_DRAW_STEPS
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.state_guard import StateGuard
from nbdebug.training.own_loop.messages import CANNOT_REPEAT, GUARDED
from nbdebug.training.tasks.checking.check_data import (
    all_samples,
    loss_of_steps,
    read_ahead,
    seen_steps,
    some_batches,
    take_modes,
)
from nbdebug.training.tasks.checking.outcomes import failed, first_line
from nbdebug.training.tasks.checking.silence import silenced

Draw = Callable[[], list[Any]]
NO_BATCH = "the loop reads its data itself: there is no batch to look at."


class CheckRunner:
    """All checks, and the report of those that ran."""

    def __init__(self, checks: Sequence[Check], session: Session, history: History) -> None:
        self.checks = {check.name: check for check in checks}
        self._session, self._history, self._left = session, history, ""
        self.announce()
        if session.body is not None:
            judges = {name: check.examine_graph for name, check in self.checks.items()}
            session.body.updates.seen.judges = judges

    def announce(self) -> None:
        """Say in the report which checks there are, before any was run."""
        words = {True: "takes some seconds: run it on request", False: "runs at once"}
        rows = []
        for name, check in list(self.checks.items()):
            try:
                outcome = Outcome("not_run", words[check.expensive])
                rows.append(check.result(outcome, 0.0, 0))
            except BaseException as error:
                raise_interrupt(error)
                del self.checks[name]
                title = f"The check {name} failed and was removed"
                text = f"{describe_error(error)}. All other checks stay."
                self._history.add_notice(Notice(0, "warning", title, text))
        self._history.set_result(CheckReport.of(rows))

    def chosen(self, names: Sequence[str], slow: bool = False) -> tuple[str, ...]:
        """Resolve names of checks; without names all cheap ones, or all with `slow`.

        Raises:
            CheckNameError: a name is unknown; the message lists the known ones.
        """
        for name in names:
            if not isinstance(name, str) or name not in self.checks:
                raise CheckNameError(unknown_name("check", name, self.checks))
        return tuple(names) or tuple(n for n, c in self.checks.items() if slow or not c.expensive)

    def run(self, names: Sequence[str], progress: TaskProgress) -> CheckReport:
        """Run some checks and return their report; each row is published as soon as it is ready."""
        checks = [self.checks[name] for name in self.chosen(names)]
        draws = any(check.runs_model for check in checks)
        failure = read_ahead(self._session) if draws else None
        guard = StateGuard(self._session)
        draw: Draw = partial(self._draw, failure, guard) if draws else list
        with guard.each_look():
            return self._run(checks, progress, guard, draw)

    def _run(
        self, checks: Sequence[Check], progress: TaskProgress, guard: StateGuard, draw: Draw
    ) -> CheckReport:
        before = self._history.results.of(CheckReport, CheckReport())
        known = {result.name: result for result in before}
        batches, self._left = [], ""
        try:
            batches = draw()
        except LoopLeft as error:
            # No loop runs: its first steps are computed again without it.
            self._left = str(error)
        except BaseException as error:
            raise_interrupt(error)
            refusal = failed(error, "No batch could be drawn")
            return self._refused(checks, known, lambda check: refusal)
        contexts = self._contexts(batches, progress.should_stop, guard)
        if not contexts:
            return self._refused(checks, known, lambda check: self._without_look(check, self._left))
        for number, check in enumerate(checks):
            for context in contexts:
                context.progress = _part_of(progress, check.title, number, len(checks))
            known[check.name] = self._one(check, contexts, guard)
            self._history.set_result(CheckReport.of(known.values()))
        self._end_looks(guard)
        return CheckReport.of(known[check.name] for check in checks)

    def _refused(
        self,
        checks: Sequence[Check],
        known: dict[str, CheckResult],
        outcome: Callable[[Check], Outcome],
    ) -> CheckReport:
        """Report of checks for which there is nothing to look at."""
        for check in checks:
            known[check.name] = check.result(outcome(check), 0.0, self._session.step)
        self._history.set_result(CheckReport.of(known.values()))
        return CheckReport.of(known[check.name] for check in checks)

    def _one(
        self, check: Check, contexts: Sequence[CheckContext], guard: StateGuard
    ) -> CheckResult:
        """Result in the first context in which a check applies."""
        start = time.perf_counter()
        outcomes = []
        if check.moves_far:
            contexts = sorted(contexts, key=lambda one: not one.rebuilt)
        if (check.moves_far or check.alters) and (line := self._guard_line()):
            outcomes.append(self._without_look(check, GUARDED.format(line), "cannot_repeat"))
            contexts = [one for one in contexts if one.rebuilt]
        for context in contexts:
            if context.rebuilt:
                take_modes(self._session, seen_steps(self._session))
            outcomes.append(self._outcome(check, context, guard))
            if outcomes[-1].status != "not_applicable":
                break
        else:
            outcomes = outcomes[:1]
        outcome = self._explained(check, outcomes[-1])
        return check.result(outcome, time.perf_counter() - start, self._session.step)

    def _outcome(self, check: Check, context: CheckContext, guard: StateGuard) -> Outcome:
        try:
            context.report_progress()
            context.begin()
            # Of what a check tries out, torch would warn the user.
            with (
                silenced(self._loop_thread()),
                self._session.rng,
                torch.enable_grad(),
                eager(self._session.model),
            ):
                if context.rebuilt and check.sees_step:
                    raise LoopLeft(self._left or CANNOT_REPEAT, "cannot_repeat")
                context.refuse_out_of_range(check.runs_loss)
                outcome = check.examine(context)
            if not isinstance(outcome, Outcome):
                raise PluginError(f"examine() gave {outcome!r}: expected an Outcome")
        except CheckStopped as error:
            outcome = Outcome("not_applicable", str(error))
        except LoopLeft as error:
            outcome = self._without_look(check, str(error), error.kind)
        except BaseException as error:
            raise_interrupt(error)
            # What the check tried out is put back first: the step itself is asked if it runs.
            _put_back(guard)
            if context.out_of_range is None and _model_runs(context):
                said = f"the check does not fit this training: {first_line(error)}"
                outcome = Outcome("not_applicable", NO_BATCH if context.batch is None else said)
            else:
                outcome = failed(error, "The check failed")
        if _put_back(guard) and (left := guard.moved(loose=False)):
            outcome = Outcome(
                "fail",
                f"The check changed {', '.join(left)} and could not restore it.",
                "no change",
                "Press Reset or create a new Debugger; please report this check.",
            )
        return outcome

    def _without_look(self, check: Check, why_not: str, kind: LeftKind = "left") -> Outcome:
        """Outcome of a loop that cannot be looked at: what its own steps have shown."""
        seen: Mapping[str, Outcome] = self._session.body.updates.seen.outcomes
        reason: Reason = "cannot_repeat" if kind == "cannot_repeat" else ""
        return seen.get(check.name, Outcome("not_applicable", why_not, reason=reason))

    def _explained(self, check: Check, outcome: Outcome) -> Outcome:
        """An outcome, with the reason for which the first steps of a loop are not made again."""
        body = self._session.body
        if body is None or body.repeats or check.sees_step or not outcome.reason:
            return outcome
        return replace(outcome, seen=f"{outcome.seen} {body.updates.seen.calls.why_not}".strip())

    def _guard_line(self) -> str:
        """Line at which the loop that a check looks at raises or asserts; "" without one."""
        body = self._session.body
        looks = body is not None and self._session.step_fn == body.look
        return str(body.state.guard) if looks else ""

    def _loop_thread(self) -> int | None:
        """Thread of a loop of the user's own, which runs what a check looks at; None without."""
        return None if self._session.body is None else self._session.body.thread

    def _end_looks(self, guard: StateGuard) -> None:
        """Let a loop of the user's own come to its update, whose batches it may count."""
        if self._session.body is None:
            return
        try:
            with silenced(self._loop_thread()):
                self._session.body.end_looks()
        except BaseException as error:
            # What the loop raises it raises again when training goes on.
            raise_interrupt(error)
        _put_back(guard)

    def _draw(self, failure: BaseException | None, guard: StateGuard) -> list[Any]:
        try:
            if failure is not None:
                raise failure
            batches = list(some_batches(self._session))
        except LoopLeft:
            # Nothing was read, and others may be drawing random numbers meanwhile.
            raise
        except BaseException:
            guard.restore()
            raise
        # User-defined data may draw random numbers.
        guard.restore()
        return batches

    def _contexts(
        self, batches: list[Any], should_stop: Callable[[], bool], guard: StateGuard
    ) -> Sequence[CheckContext]:
        """The training, and of a loop of the user's own its first steps, computed without it."""
        session, body = self._session, self._session.body
        seen = seen_steps(session)
        make = partial(
            CheckContext, step=session.step, halting=should_stop,
            host_draws_seeded=session.step < HOST_DRAW_STEPS or session.rng.uses_host,
        )  # fmt: skip
        found = []
        # What the user or a trainer gave as the loss is no loop.
        own_loss = seen and session.step_fn != body.look
        if not self._left and (not seen or body.repeats or own_loss):
            samples = all_samples(session)
            found.append(
                make(session, session.loss_fn, session.evaluate, batches, samples,
                     put_back=guard.restore_records)
            )  # fmt: skip
        if seen:
            take_modes(session, seen)
            data = [to_device(step.batch, session.device) for step in seen]
            samples = all_samples(session, seen, of_loader=bool(self._left) and body.repeats)
            found.append(make(session, *loss_of_steps(session, seen), data, samples, rebuilt=True))
        return found


def _put_back(guard: StateGuard) -> bool:
    """Write the copies back; True if more than records was changed."""
    guard.restore_records()
    moved = bool(guard.moved())
    if moved:
        guard.restore()
    return moved


def _model_runs(context: CheckContext) -> bool:
    """Tell if model and loss run on a batch in training mode."""
    context.train()
    try:
        context.evaluate(context.batch)
    except LoopLeft:
        # It runs, but not for a check.
        return True
    except BaseException as error:
        raise_interrupt(error)
        return False
    return True


def _part_of(
    progress: TaskProgress, title: str, number: int, count: int
) -> Callable[[float], None]:
    """Return a function that reports the progress of one check as part of all."""
    return lambda share: progress.advance((number + share) / count, title)
