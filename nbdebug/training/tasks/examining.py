"""Handlers that examine a training without changing it."""

from __future__ import annotations

from nbdebug.core.commands.examining import (
    AskChecks,
    CloseWorstSamples,
    CompareRanks,
    FindWorstSamples,
    RecordFlight,
    RunChecks,
    RunLrRangeTest,
    SummarizeModel,
)
from nbdebug.core.commands.timeline import ForkSteps, WriteScript
from nbdebug.core.results.checks.check_report import CheckReport
from nbdebug.core.results.flight_record import FlightRecord
from nbdebug.core.results.fork_result import ForkResult
from nbdebug.core.results.lr_range_test import LrRangeTest
from nbdebug.core.results.model_summary import ModelSummary
from nbdebug.core.results.worst_samples import WorstSamples
from nbdebug.model.state.digest import bits_of
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.script.writer import write_script
from nbdebug.training.tasks.flight_recorder import last_steps
from nbdebug.training.tasks.handler import Handler
from nbdebug.training.tasks.lr_range_test import sweep
from nbdebug.training.tasks.model_summary import summarize
from nbdebug.training.tasks.trials.fork import fork
from nbdebug.training.tasks.worst_samples import worst_samples

STEERED = "The range test has read the next batches"
STEERED_TEXT = (
    "train_data reads what the steps change, such as the model, and cannot be read twice. The next "
    "{} batches of training are those that the range test read, as its steps made them."
)


class RangeTestHandler(Handler[RunLrRangeTest]):
    """Handler that sweeps the learning rate."""

    command = RunLrRangeTest
    failed = "The learning-rate range test failed"

    def handle(self, command: RunLrRangeTest, progress: TaskProgress) -> LrRangeTest:
        session = self.training.session
        found = sweep(self.training.loop, command, progress)
        if session.own_place is not None and session.own_place.is_shared:
            self.training.notify("warning", STEERED, STEERED_TEXT.format(found.loss.size))
        return self.training.publish(found)


class RunChecksHandler(Handler[RunChecks]):
    """Handler that runs checks and answers with their report."""

    command = RunChecks

    def handle(self, command: RunChecks, progress: TaskProgress) -> CheckReport:
        training = self.training
        with training.double_step.around(training.history, "The checks"):
            return training.checks.run(command.checks, progress)


class AskChecksHandler(Handler[AskChecks]):
    """Handler that lets checks wait for a moment in which training can afford them."""

    command = AskChecks

    def handle(self, command: AskChecks, progress: TaskProgress) -> None:
        self.training.asked.take(command.checks)


class SummarizeHandler(Handler[SummarizeModel]):
    """Handler that lists the layers of the model."""

    command = SummarizeModel

    def handle(self, command: SummarizeModel, progress: TaskProgress) -> ModelSummary:
        return summarize(self.training.session, self.training.fixed)


class RecordFlightHandler(Handler[RecordFlight]):
    """Handler that reruns the last steps and records module outputs."""

    command = RecordFlight

    def handle(self, command: RecordFlight, progress: TaskProgress) -> FlightRecord:
        training = self.training
        return training.publish(last_steps(training.timeline, training.session, progress))


class FindWorstSamplesHandler(Handler[FindWorstSamples]):
    """Handler that evaluates each sample of a batch alone."""

    command = FindWorstSamples
    failed = "The worst samples could not be found"

    def handle(self, command: FindWorstSamples, progress: TaskProgress) -> WorstSamples:
        training = self.training
        worst = worst_samples(
            training.timeline, training.session, training.loop.breakpoints, command, progress
        )
        return training.publish(worst)


class CloseWorstSamplesHandler(Handler[CloseWorstSamples]):
    """Handler that removes the table of samples."""

    command = CloseWorstSamples

    def handle(self, command: CloseWorstSamples, progress: TaskProgress) -> None:
        self.training.history.drop_result(WorstSamples)


class ForkHandler(Handler[ForkSteps]):
    """Handler that trains some steps with and without changes."""

    command = ForkSteps
    failed = "The fork failed"

    def handle(self, command: ForkSteps, progress: TaskProgress) -> ForkResult:
        training = self.training
        training.double_step.require(progress)
        result = fork(
            training.timeline, training.loop, training.controls, command, progress,
            training.diagnosis,
        )  # fmt: skip
        return training.publish(result)


class WriteScriptHandler(Handler[WriteScript]):
    """Handler that writes training as a plain PyTorch program."""

    command = WriteScript

    def handle(self, command: WriteScript, progress: TaskProgress) -> None:
        write_script(self.training.timeline, self.training.session, progress, command)


class CompareRanksHandler(Handler[CompareRanks]):
    """Handler that computes a number from the weights."""

    command = CompareRanks

    def handle(self, command: CompareRanks, progress: TaskProgress) -> int | None:
        return bits_of(parameter for _, parameter in self.training.session.parameters)
