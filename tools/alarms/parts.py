"""What is counted of each check and rule, and the processes that count."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch


class Row(NamedTuple):
    """Counts of a check or rule.

    Attributes:
        applied: healthy trainings that it applies to; errors, warnings: its fires on them.
        sick: its fires on sick ones.
    """

    applied: int
    errors: int
    warnings: int
    sick: int


@dataclass(frozen=True)
class Part:
    """Counts of all checks, or of all rules.

    Attributes:
        rows: by name; healthy, sick: numbers of trainings; told: a sentence on them.
        lines: last line of the docstring of each class, without its mark.
    """

    rows: dict[str, Row]
    healthy: int
    sick: int
    told: str
    lines: dict[type[Any], str]


def processes() -> ProcessPoolExecutor:
    """A process for each core, with one thread each."""
    # Not a Pool: its processes may have no children, as loader workers are.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count(), spawn, _quiet)


def _quiet() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
