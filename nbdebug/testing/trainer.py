"""A training on the calling thread: no training thread, no dashboard, no record of the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import nn

from nbdebug.checks.base import Check
from nbdebug.controls.base import Control
from nbdebug.core.commands.running import SetControl
from nbdebug.core.history.history import History
from nbdebug.core.plugins import instances
from nbdebug.core.records import Status
from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.core.results.findings import Findings
from nbdebug.errors import ControlValueError, PluginError
from nbdebug.model.module.forward import LossFn
from nbdebug.probes.base import Probe
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.rules.base import Rule
from nbdebug.testing.problem import AnyProblem
from nbdebug.training.engine.control_effect import would_change
from nbdebug.training.engine.control_set import ControlSet, check_keywords
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.probe_runner import ProbeRunner
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.setup import Setup
from nbdebug.training.engine.stopping.breakpoints import Breakpoints
from nbdebug.training.tasks.checking.check_runner import CheckRunner
from nbdebug.training.timeline.timeline import Timeline

CHECKPOINT_MEMORY = 2**24


class Trainer:
    """The parts of a Debugger that train, wired without a thread.

    Steps are made inside `step`, so an exception of the model or of a plug-in's test is raised
    there. Numbers are those of a Debugger with the same arguments.

    Args:
        model, train_data, loss_fn: as of the Debugger.
        probes: to measure with; None for all that come with nbdebug.
        controls: of your own, besides those that come with nbdebug.
        arguments: further keywords of the Debugger, and initial values of controls.

    Attributes:
        session: model, optimizer, data and settings, as plug-ins get them.
        history: the recorded numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        train_data: Any,
        loss_fn: LossFn | None = None,
        *,
        probes: Sequence[Probe] | None = None,
        controls: Sequence[Control] = (),
        **arguments: Any,
    ) -> None:
        known = {field.name for field in dataclasses.fields(Setup)}
        given = {name: value for name, value in arguments.items() if name in known}
        values = {name: value for name, value in arguments.items() if name not in known}
        setup = Setup(
            **{"checkpoint_memory": CHECKPOINT_MEMORY, **given},
            model=model, train_data=train_data, loss_fn=loss_fn,
        )  # fmt: skip
        kinds = (*instances("nbdebug.controls", Control, _raise), *controls)
        check_keywords(values, kinds, known)
        self.history, self.session = History(), Session(setup)
        self._controls = ControlSet(kinds, self.session, self.history)
        self._controls.apply_initial({**values, **setup.controls()})
        if probes is None:
            probes = instances("nbdebug.probes", Probe, _raise)
        self._probes = ProbeRunner(probes, setup.overhead, self.history.add_notice)
        self._probes.attach(self.session)
        for probe in probes:
            self._probes.watch(probe.name, True)
        self._loop = Loop(
            self.session, self._probes, self.history, self._controls.numbers,
            Breakpoints(self.history),
        )  # fmt: skip
        self._timeline = Timeline(self._loop, self._controls, self.history, setup.checkpoint_memory)
        self._say()

    @classmethod
    def of(cls, problem: AnyProblem, **arguments: Any) -> Trainer:
        """Build one on a small problem, or on a sick setup of `nbdebug.examples`."""
        given = {**problem.settings, **arguments}
        return cls(problem.model(), problem.data(), problem.loss, **given)

    @property
    def model(self) -> nn.Module:
        """The model under training."""
        return self.session.model

    @property
    def controls(self) -> dict[str, Any]:
        """The value in force of every control."""
        return self._controls.values()

    def step(self, n: int = 1) -> None:
        """Make `n` steps.

        Raises:
            NonFiniteError: loss or gradient is NaN or infinite; the update was not made.
            Exception: whatever model, loss or data raised.
        """
        try:
            for _ in range(n):
                self._timeline.before_step()
                self._loop.step()
                self._timeline.after_step()
        finally:
            self._say()

    def set(self, *, why: str = "", **values: Any) -> None:
        """Change controls between two steps.

        Raises:
            ControlNameError, ControlValueError: nothing was changed.
        """
        for name, value in self._controls.validate(values).items():
            self._timeline.take_checkpoint()
            command = SetControl(name, value, why=why)
            if not self._controls.apply(command):
                raise ControlValueError(self.history.changes[-1].note)
            self._timeline.record_event(command)
            self._loop.controls_changed()

    def rewind(self, step: int) -> None:
        """Go back to just before `step`; changes made before it are made again."""
        target = self._timeline.resolve(step)
        self._timeline.rewind(target, self._progress("rewind"), "api", "")
        self._say()

    def examine(self, check: Check) -> CheckResult:
        """Run one check between two steps; the training stays as it is."""
        runner = CheckRunner([check], self.session, self.history)
        return runner.run((check.name,), self._progress("checklist"))[check.name]

    def diagnose(self, *rules: Rule) -> Findings:
        """Ask rules what looks sick now."""
        return Diagnosis(rules, self.history, partial(would_change, self._controls)).look()

    def close(self) -> None:
        """End the workers of the data loader, if there are any."""
        self._timeline.close()
        self.session.sampler.close()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _progress(self, name: str) -> TaskProgress:
        never: Callable[[], bool] = lambda: False  # noqa: E731
        return TaskProgress(name, self.history, never)

    def _say(self) -> None:
        session = self.session
        self.history.set_status(
            Status(step=session.step, samples=session.samples, epoch=session.epoch)
        )


def _raise(name: str, error: BaseException) -> None:
    raise PluginError(f"The plug-in {name} cannot be loaded: {error}") from error
