"""Handlers that look inside the network, on fixed samples, also while somebody watches."""

from __future__ import annotations

from dataclasses import replace

from nbdebug.core.commands.inside import Embed, Explain, LookInside
from nbdebug.core.commands.predicting import Predict
from nbdebug.core.error_text import message_of, raise_interrupt
from nbdebug.core.names import unknown_name
from nbdebug.core.results.inside.attribution import Attribution
from nbdebug.core.results.inside.embedding import Embedding
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.errors import ArgumentError
from nbdebug.probes.update_ratio import MeasuredUpdate, UpdateRatio
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler, Training
from nbdebug.training.tasks.inside.attribution import explain
from nbdebug.training.tasks.inside.embedding import embedding
from nbdebug.training.tasks.inside.network_picture import network_picture
from nbdebug.training.tasks.inside.predictions import PredictionMaker


class LookInsideHandler(Handler[LookInside]):
    """Handler that makes the picture of the network, and offers it as a live view."""

    command = LookInside
    failed = "The picture of the network could not be made"

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._latest = LookInside()
        title, fixed = "The picture of the network", training.fixed
        training.views.offer("network_picture", title, self._make, lambda: fixed.can_choose)

    def handle(self, command: LookInside, progress: TaskProgress) -> NetworkPicture:
        if command.data is not None:
            self.training.fixed.exchange(command.data)
        before, self._latest = self._latest, replace(command, data=None)
        try:
            made = self._make()
        except BaseException:
            self._latest = before
            raise
        if command.part and made.detail is None:
            names = [part.name for part in made.structure.parts]
            raise ArgumentError(unknown_name("part", command.part, names))
        return made

    def _make(self) -> NetworkPicture:
        training, wanted = self.training, self._latest
        fixed, first = training.fixed, training.first_checkpoint
        single = None if wanted.index is None else fixed.of_index(wanted.index)
        samples, session = fixed.of_training(), training.session
        update = self._latest_update() if wanted.show == "updates" else None
        return training.publish(network_picture(session, samples, wanted, first, single, update))

    def _latest_update(self) -> MeasuredUpdate | None:
        """The update that the probe of update ratios measured last."""
        for slot in self.training.loop.probes.scheduled.values():
            if isinstance(slot.probe, UpdateRatio) and slot.on:
                return slot.probe.latest
        return None


class PredictHandler(Handler[Predict]):
    """Handler that adds a step to the predictions, and offers them as a live view."""

    command = Predict

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._maker = PredictionMaker(training.session, training.history)
        training.views.offer("predictions", "The predictions", self._show)

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


class ExplainHandler(Handler[Explain]):
    """Handler that attributes an output to the inputs of a fixed sample."""

    command = Explain

    def handle(self, command: Explain, progress: TaskProgress) -> Attribution:
        training, index, fixed = self.training, command.index, self.training.fixed
        samples = fixed.of_training() if index is None else fixed.of_index(index)
        return training.publish(explain(training.session, samples, command, progress))


class EmbedHandler(Handler[Embed]):
    """Handler that makes the embedding of a part; that by PCA is a live view afterwards."""

    command = Embed

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._latest = Embed()
        training.views.offer("embedding", "The embedding", self._make, self._can_be_live)

    def handle(self, command: Embed, progress: TaskProgress) -> Embedding:
        self._latest = command
        return self._make()

    def _can_be_live(self) -> bool:
        return self._latest.method == "pca" and self.training.fixed.can_choose

    def _make(self) -> Embedding:
        training = self.training
        samples = training.fixed.of_training()
        return training.publish(embedding(training.session, samples, self._latest))
