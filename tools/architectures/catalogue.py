"""All stock architectures by name."""

from __future__ import annotations

from collections.abc import Mapping

from tools.architectures.attention import ATTENTION
from tools.architectures.base import Architecture
from tools.architectures.convolutional import CONVOLUTIONAL
from tools.architectures.generative import GENERATIVE
from tools.architectures.heads import HEADS
from tools.architectures.metric import METRIC
from tools.architectures.recurrent import RECURRENT

ARCHITECTURES: Mapping[str, Architecture] = {
    **CONVOLUTIONAL,
    **ATTENTION,
    **RECURRENT,
    **GENERATIVE,
    **METRIC,
    **HEADS,
}
