"""Passes of a loop of the user's own, and positions in them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import torch

from nbdebug.errors import DataError
from nbdebug.model.state.model_state import RngState
from nbdebug.training.data.batch import Batch
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.loader_state import is_read_once

NOT_BEGUN = "The loop has not begun: its batch size is known with the first batch."
NOT_RESUMED = (
    "A watched loop does not go on after a restart: it begins again. Save what it needs with "
    "torch.save."
)


READ_ONCE = (
    "The loop iterates over a {}, which cannot be read twice. Give batches() an object whose "
    "iter() begins again, such as a list or a DataLoader."
)

NO_LOADER = (
    "A loop without batches() cannot repeat its steps: nothing goes back, forks or replays. "
    "Everything else works."
)
NO_BATCHES = "The loop has no DataLoader."


class Updates:
    """Iterated over by a loop whose data is not read here: an endless pass of None.

    Attributes:
        steps: number of steps of a pass, None if it is unknown.
        nothing_goes_back, fixed: why its steps cannot be repeated, and its batch size not changed.
    """

    def __init__(
        self, steps: int | None = None, nothing_goes_back: str = NO_LOADER, fixed: str = NO_BATCHES
    ) -> None:
        self.steps, self.nothing_goes_back, self.fixed = steps, nothing_goes_back, fixed

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class Passes(Protocol):
    """The loop, as the sampler sees it.

    Attributes:
        cut: True if the loop has left its pass before the end.
        in_pass: True if the loop waits inside of a pass.
        why_not: why steps of the loop cannot be made again; "" if they can.
        ahead_seconds: that the loop has waited for the batch of its next step.
    """

    cut: bool
    ahead_seconds: float
    why_not: str

    @property
    def in_pass(self) -> bool: ...

    def next_loader(self) -> Any:
        """Wait until the loop waits for a batch; return what it iterates over."""

    def pass_ends(self) -> None:
        """Called before the loop of this pass ends, when it waits for another batch."""

    def end_pass(self) -> None:
        """Let the loop of this pass end, and go on to the next on its own."""

    def close(self) -> None:
        """Let go of the loop, which goes on without batches."""


class PassStart(NamedTuple):
    """Beginning of a pass: its loader, random numbers, states of loader and dataset.

    Attributes:
        counters: numbers that a loader of another package keeps, such as that of the epoch.
    """

    loader: Any
    rng: RngState | None
    order: HeldState | None
    held: HeldState | None
    counters: Mapping[str, int]

    def restore(self) -> None:
        """Set loader and dataset to their states at the beginning."""
        for held in (self.order, self.held):
            if held is not None:
                held.restore()
        for name, value in self.counters.items():
            setattr(self.loader, name, value)


class LoopPosition(NamedTuple):
    """Position in the passes of a loop.

    Attributes:
        number: of the pass, -1 before the first; under_way: False if it is over.
        read: samples or batches read of the pass; start: of the pass.
        rng, held: random numbers and state of the dataset here.
        ahead: True if the batch here was read already; begun: pass that was begun for it.
    """

    number: int
    under_way: bool
    read: int
    start: PassStart | None
    rng: RngState | None
    held: HeldState | None
    ahead: bool = False
    begun: PassStart | None = None

    def reached_from(self, first: PassStart | None) -> tuple[PassStart | None, int, bool, int]:
        """Start and number of the pass to begin, if it is under way, and what to leave out of it.

        Args:
            first: start of the first pass, over what the loop iterated over then.
        """
        if self.begun is not None:
            return self.begun, self.number + 1, True, 0
        if self.start is None:
            return first, 0, True, 0
        return self.start, self.number, self.under_way, self.read


class Ahead(NamedTuple):
    """A batch that was read ahead.

    Attributes:
        before: position before it; settings: of batches, that it was read with.
        place: behind it; after: random numbers behind it.
    """

    batch: Batch
    before: LoopPosition
    settings: tuple[Any, ...]
    place: tuple[int, bool, int]
    after: RngState | None


class UserBatch(Batch):
    """A batch that stays as the loader made it: the loop moves it to the device itself."""

    def to(self, device: torch.device) -> Batch:
        return self


def check_reread(start: PassStart | None, passes: Passes) -> None:
    """Refuse to go to or from a pass that cannot be begun again.

    Raises:
        DataError: it cannot; None stands for no pass.
    """
    if start is None:
        return
    if isinstance(start.loader, Updates):
        raise DataError(start.loader.nothing_goes_back)
    if passes.why_not:
        raise DataError(passes.why_not)
    if is_read_once(start.loader, start.order):
        raise DataError(READ_ONCE.format(type(start.loader).__name__))
