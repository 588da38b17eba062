"""Exam of a network of digits: has a sick training been cured?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from nbdebug.debugger.debugger import Debugger
from nbdebug.errors import ArgumentError
from nbdebug.examples.data import digits, load

# The training data of every sick training on digits are among the first of their permutation.
TRAINED_ON = 1437
LAST_STEPS = 20
MIN_ACCURACY = 0.9
MAX_LOSS = 0.5


@dataclass(frozen=True)
class Exam:
    """Result of an exam: digits read by a network that was not trained on them.

    Attributes:
        accuracy: share of the held-out digits that are read rightly, in eval mode.
        samples: number of held-out digits.
        loss: mean training loss of the last 20 steps; NaN before the first step.
    """

    accuracy: float
    samples: int
    loss: float

    @property
    def passed(self) -> bool:
        """True for an accuracy of at least 0.9 with a training loss below 0.5."""
        return self.accuracy >= MIN_ACCURACY and self.loss < MAX_LOSS

    def __repr__(self) -> str:
        return (
            f"{'passed' if self.passed else 'not passed'}: {self.accuracy:.0%} of {self.samples} "
            f"new digits are read rightly (at least {MIN_ACCURACY:.0%} are asked for), the "
            f"training loss is {self.loss:.3g} (below {MAX_LOSS} is asked for)"
        )


def exam(dbg: Debugger) -> Exam:
    """Pause a training and examine its network on 360 digits that no sick training trains on.

    Nothing of the training changes: the network is put into eval mode and back.

    Args:
        dbg: a training on `digits(0)`, such as that of a patient.

    Raises:
        ArgumentError: the network does not give ten outputs for a digit of 64 pixels.
        MissingPackageError: scikit-learn is not installed.
    """
    X, y = (part[TRAINED_ON:] for part in digits(0, len(load("digits")[0])))
    dbg.pause()
    outputs = _outputs(dbg.model, X.to(dbg.session.device)).cpu()
    loss = math.nan
    if "loss" in dbg.history.series:
        loss = float(dbg.history.frame("loss")["loss"].tail(LAST_STEPS).mean())
    right = (outputs.argmax(1) == y).float().mean().item()
    return Exam(right, len(y), loss)


def _outputs(model: nn.Module, X: torch.Tensor) -> torch.Tensor:
    """Outputs [N, 10] of a network in eval mode, which each module leaves again."""
    training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            outputs = model.eval()(X)
    except RuntimeError as error:
        raise ArgumentError(f"The network does not read digits of 64 pixels: {error}") from error
    finally:
        for module, mode in training.items():
            module.training = mode
    if getattr(outputs, "shape", None) != (len(X), 10):
        raise ArgumentError("The network does not give ten outputs for a digit.")
    found: torch.Tensor = outputs
    return found
