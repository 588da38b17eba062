"""Handler that looks inside the network."""

from __future__ import annotations

from dataclasses import replace

from nbdebug.core.commands.inside import LookInside
from nbdebug.core.names import unknown_name
from nbdebug.core.results.inside.network_picture import NetworkPicture
from nbdebug.errors import ArgumentError
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.tasks.handler import Handler, Training
from nbdebug.training.tasks.inside.network_picture import network_picture


class LookInsideHandler(Handler[LookInside]):
    """Handler that makes the picture of the network; it is made anew while somebody looks."""

    command = LookInside
    failed = "The picture of the network could not be made"

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._latest = LookInside()
        training.views.offer("network_picture", "The picture of the network", self._make)

    def handle(self, command: LookInside, progress: TaskProgress) -> NetworkPicture:
        if command.data is not None:
            self.training.fixed.exchange(command.data)
        self._latest = replace(command, data=None)
        made = self._make()
        if command.part and made.detail is None:
            names = [part.name for part in made.structure.parts]
            raise ArgumentError(unknown_name("part", command.part, names))
        return made

    def _make(self) -> NetworkPicture:
        training, wanted = self.training, self._latest
        samples = training.fixed.of_training()
        made = network_picture(training.session, samples, wanted.sample, wanted.show, wanted.part)
        return training.publish(made)
