"""The sick trainings and the sick setups, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nbdebug.examples import sick_by_data, sick_by_model, sick_by_settings
from nbdebug.examples.setups.base import SickSetup
from nbdebug.examples.setups.connections import CONNECTIONS
from nbdebug.examples.setups.data import DATA
from nbdebug.examples.setups.forwards import FORWARDS
from nbdebug.examples.setups.layers import LAYERS
from nbdebug.examples.setups.loss import LOSS
from nbdebug.examples.setups.pairs import PAIRS
from nbdebug.examples.setups.signals import SIGNALS
from nbdebug.examples.setups.start import START
from nbdebug.examples.sick_training import SickTraining

_TRAININGS = (*sick_by_settings.TRAININGS, *sick_by_model.TRAININGS, *sick_by_data.TRAININGS)

SICK_TRAININGS: Mapping[str, SickTraining] = MappingProxyType(
    {training.name: training for training in _TRAININGS}
)
SICK_SETUPS: Mapping[str, SickSetup] = MappingProxyType(
    {**START, **LOSS, **LAYERS, **FORWARDS, **DATA, **SIGNALS, **CONNECTIONS, **PAIRS}
)


def sick() -> Mapping[str, SickTraining]:
    """Trainings with a fault that a rule finds while they run, by name."""
    return SICK_TRAININGS


def sick_setups() -> Mapping[str, SickSetup]:
    """Models, data and settings with a fault that a check finds before training, by name."""
    return SICK_SETUPS
