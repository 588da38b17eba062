"""The fixture `dbg`, a small training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import nbdebug as nbd
from tests.training.timeline.timelines import make


@pytest.fixture
def dbg() -> Iterator[nbd.Debugger]:
    with make() as made:
        yield made
