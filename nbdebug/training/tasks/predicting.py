"""Handler that evaluates the fixed samples, also while somebody watches."""

from __future__ import annotations

from dataclasses import replace

from nbdebug.core.commands.predicting import Predict
from nbdebug.core.error_text import message_of, raise_interrupt
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler, Training
from nbdebug.training.tasks.inside.predictions import PredictionMaker

VIEW = "predictions"


class PredictHandler(Handler[Predict]):
    """Handler that adds a step to the predictions, and offers them as a live view."""

    command = Predict

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._maker = PredictionMaker(training.session, training.history)
        training.views.offer(VIEW, "The predictions", self._show)

    def handle(self, command: Predict, progress: TaskProgress) -> Predictions:
        training, before = self.training, self.training.fixed.chosen
        if command.samples is None:
            return training.publish(self._maker.look(training.fixed.of_training()))
        try:
            return training.publish(self._maker.look(training.fixed.exchange(command.samples)))
        except BaseException:
            training.fixed.put_back(before)
            raise

    def _show(self) -> None:
        """Publish the predictions; what the model or the data raised is said in words."""
        training = self.training
        try:
            found = self._maker.look(training.fixed.of_training())
        except BaseException as error:
            raise_interrupt(error)
            before = training.history.results.of(Predictions, Predictions())
            found = replace(before, why=f"The samples could not be evaluated: {message_of(error)}")
        training.publish(found)
