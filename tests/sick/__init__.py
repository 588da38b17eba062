"""Sick problems: each with one planted fault, and the check that must name it."""

from tests.sick.base import Sick
from tests.sick.data import DATA
from tests.sick.forwards import FORWARDS
from tests.sick.layers import LAYERS
from tests.sick.loss import LOSS
from tests.sick.signals import SIGNALS
from tests.sick.start import START

SICK: dict[str, Sick] = {**START, **LOSS, **LAYERS, **FORWARDS, **DATA, **SIGNALS}

__all__ = ["SICK", "Sick"]
