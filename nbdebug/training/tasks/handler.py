"""Base class of handlers, which run one kind of command on the training thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from nbdebug.core.commands.base import Command
from nbdebug.core.history.history import History
from nbdebug.core.records import Notice, RunState, Severity
from nbdebug.rules._diagnosis import Diagnosis
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.lr_forecast import LrForecast
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.stopping.run_control import RunControl
from nbdebug.training.tasks.checking.asked_checks import AskedChecks
from nbdebug.training.tasks.checking.check_runner import CheckRunner
from nbdebug.training.tasks.inside.fixed_samples import FixedData
from nbdebug.training.tasks.inside.live_views import LiveViews
from nbdebug.training.tasks.layer_flow import LayerFlow
from nbdebug.training.tasks.trials.double_step import DoubleStep
from nbdebug.training.tasks.trials.stopped_step import StoppedStep
from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.timeline import Timeline

C = TypeVar("C", bound=Command)
R = TypeVar("R")


@dataclass(frozen=True)
class Training:
    """Parts of a training that handlers use."""

    loop: Loop
    controls: ControlSet
    history: History
    timeline: Timeline
    checks: CheckRunner
    asked: AskedChecks
    diagnosis: Diagnosis
    run: RunControl
    forecast: LrForecast
    flow: LayerFlow
    fixed: FixedData
    views: LiveViews
    double_step: DoubleStep
    stopped: StoppedStep

    @property
    def session(self) -> Session:
        """Model, optimizer, loss and data."""
        return self.loop.session

    def first_checkpoint(self) -> Checkpoint:
        """The checkpoint that the timeline begins with."""
        return self.timeline.pool.checkpoints[0]

    def after_step(self) -> None:
        """Log the step, and compare it with the one that a breakpoint stopped."""
        self.timeline.after_step()
        self.stopped.compare()

    def has_due(self, state: RunState) -> bool:
        """Tell if a check that a rule asked for, or a view, is due in this state of training."""
        return self.asked.due(state) or bool(self.views.due(state))

    def run_due(self, state: RunState) -> None:
        """Run a check and make a view, if they are due."""
        try:
            self.asked.run_due(state)
            self.views.run_due(state)
        finally:
            self.session.ready.end_looks()

    def publish(self, result: R) -> R:
        """Publish a result in History, and return it."""
        self.history.set_result(result)
        return result

    def notify(self, severity: Severity, title: str, text: str) -> None:
        """Show a message at the current step."""
        self.history.add_notice(Notice(self.session.step, severity, title, text))


class Handler(ABC, Generic[C]):
    """Handler of one kind of command, between two steps.

    Attributes:
        command: the class of the command.
        failed: title of the message after an exception; "" for no message.
    """

    command: ClassVar[type[Command]]
    failed: ClassVar[str] = ""

    def __init__(self, training: Training) -> None:
        self.training = training

    @abstractmethod
    def handle(self, command: C, progress: TaskProgress) -> Any:
        """Run the command.

        Args:
            progress: progress and cancellation of a long command.

        Returns:
            The answer to the command.

        Raises:
            Exception: the command failed; training is as before.
        """
