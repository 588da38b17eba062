"""All stock architectures by name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.architectures.attention import ATTENTION
from tests.architectures.base import Architecture
from tests.architectures.convolutional import CONVOLUTIONAL
from tests.architectures.generative import GENERATIVE
from tests.architectures.heads import HEADS
from tests.architectures.metric import METRIC
from tests.architectures.recurrent import RECURRENT

ARCHITECTURES: Mapping[str, Architecture] = {
    **CONVOLUTIONAL,
    **ATTENTION,
    **RECURRENT,
    **GENERATIVE,
    **METRIC,
    **HEADS,
}
