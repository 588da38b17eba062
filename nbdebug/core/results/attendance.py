"""The dashboards of other processes that are attached to a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attendance:
    """Dashboards that are attached, and the one that steers.

    Attributes:
        names: of all that look, in the order in which they came.
        steers: the one that steers, "" for none.
        you: the one that holds this copy, "" in the process of the training.
    """

    names: tuple[str, ...] = ()
    steers: str = ""
    you: str = ""

    @property
    def steerer(self) -> str:
        """Who steers, "you" for the holder of this copy."""
        return "you" if self.steers and self.steers == self.you else self.steers or "nobody"

    def __str__(self) -> str:
        """Tell who steers, and how many look."""
        if not self.names:
            return "nobody is attached"
        verb = "steer" if self.steerer == "you" else "steers"
        return f"{self.steerer} {verb}, {len(self.names)} attached"
