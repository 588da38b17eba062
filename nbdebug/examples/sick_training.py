"""A training with a planted fault, and how to write one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from nbdebug.debugger.debugger import Debugger
from nbdebug.examples.data import digits

Build = Callable[[int], Debugger]


@dataclass(frozen=True)
class SickTraining:
    """A training with a planted fault.

    Attributes:
        name: of the fault, in words.
        about: the fault and the training it was planted in.
        rules: rules one of which should be among the first two root causes.
        steps: how long to train; the fault shows within the first quarter.
        build: makes the Debugger from a seed.
    """

    name: str
    about: str
    rules: tuple[str, ...]
    steps: int
    build: Build

    def debugger(self, seed: int = 0) -> Debugger:
        """Build a Debugger on the network, its data and its settings.

        Raises:
            MissingPackageError: scikit-learn is not installed.
        """
        return self.build(seed)


def sick_training(name: str, *rules: str, steps: int = 1000) -> Callable[[Build], SickTraining]:
    """Decorator that makes a SickTraining of a function; its docstring is `about`.

    Args:
        name: of the fault, in words.
        rules: names of the rules one of which should find it.
        steps: how long to train.
    """

    def wrap(build: Build) -> SickTraining:
        return SickTraining(name, inspect.getdoc(build) or "", rules, steps, build)

    return wrap


def train(model: nn.Module, seed: int, **options: Any) -> Debugger:
    """Build a Debugger on digits: SGD with a learning rate of 0.05, batches of 32."""
    data = options.pop("data", None) or digits(seed)
    given = {"batch_size": 32, "optimizer": "sgd", "lr": 0.05, **options}
    given = {name: value for name, value in given.items() if value is not None}
    return Debugger(model, data, nn.CrossEntropyLoss(), **given)
