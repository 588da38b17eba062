"""Command that evaluates the fixed samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from nbdebug.core.commands.base import Command, NoFields


@dataclass(frozen=True, slots=True)
class Predict(NoFields, Command):
    """Evaluate the fixed samples at the present weights.

    Attributes:
        samples: a batch to take instead of the fixed samples from now on; None keeps them.
    """

    name: ClassVar[str] = "predict"
    long: ClassVar[bool] = True
    samples: Any = None
