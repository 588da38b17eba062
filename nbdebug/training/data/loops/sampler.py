"""Sampler of a loop of the user's own: passes over the loader that the loop iterates over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import DataError
from nbdebug.model.training_state import Batching
from nbdebug.training.data.batch import Batch, count_samples
from nbdebug.training.data.loops.batches import LoaderPass, SizedPass, add_form
from nbdebug.training.data.loops.kept_batches import KeptBatches, makes_anew
from nbdebug.training.data.loops.pass_maker import PassMaker
from nbdebug.training.data.loops.positions import (
    NOT_BEGUN,
    Ahead,
    LoopPosition,
    Passes,
    PassStart,
    Updates,
    UserBatch,
    check_reread,
)
from nbdebug.training.data.loops.rng import LoopRng
from nbdebug.training.data.loops.written_batches import WrittenBatches
from nbdebug.training.data.passes.held_state import HeldState
from nbdebug.training.data.passes.indexed_state import IndexedState
from nbdebug.training.data.passes.loader_state import order_of


class LoopSampler:
    """Reads the loader that the user's loop iterates over, as the loop itself would.

    Going back begins a pass again with the random numbers that it began with.

    Attributes:
        forms: of the batches that the loop was given; written: those that it writes into.
    """

    def __init__(self, passes: Passes, rng: LoopRng, batching: Batching) -> None:
        self._passes, self._rng, self._batching = passes, rng, batching
        batching.fixed = NOT_BEGUN
        self._maker = PassMaker(batching)
        self.forms = set[Any]()
        self._tried: KeptBatches | None = None
        self.written = WrittenBatches(lambda: self.loader, lambda: self.trying)
        self._first: PassStart | None = None
        self.reset()

    @property
    def trying(self) -> bool:
        """True while steps are tried, which may go beyond the last epoch of the loop."""
        return self._tried is not None

    @property
    def repeats(self) -> bool:
        """False if no step can be made again."""
        return not (isinstance(self.loader, Updates) or self._passes.why_not)

    @property
    def loader(self) -> Any:
        """Loader of the present pass, or of the last one; None before the first."""
        return None if self._start is None else self._start.loader

    @property
    def reads_once(self) -> bool:
        """True if batches of the present pass, or of the last one, cannot be read again."""
        return self._start is not None and self._start.is_read_once

    @property
    def state(self) -> IndexedState | None:
        """State of the dataset of the loader, where batches are read in this process."""
        return self._maker.state

    @property
    def number(self) -> int:
        """Number of the pass that the next batch belongs to, as far as it is known."""
        return max(self._number, 0) if self._pass is not None else self._number + 1

    @property
    def completed(self) -> int:
        """Number of passes that are over."""
        return self._number + self._is_over()

    def reset(self) -> None:
        self._number, self._on_its_own = -1, False
        self._start: PassStart | None = None
        self._pass: LoaderPass | SizedPass | None = None
        self._maker.state = None
        # The batch that was read ahead, and the order of the loader before; the last one that was.
        self._ahead: Ahead | None = None
        self._order: HeldState | None = None
        self._spent: Ahead | None = None

    def learn(self) -> None:
        """Take the batch size of the loader that the loop waits to iterate over."""
        self._maker.take(self._passes.next_loader(), self.loader)

    def let_go(self) -> None:
        """Let the loop draw random numbers on its own."""
        self._rng.let_go()

    def take_over(self) -> None:
        """Go on with the random numbers that the loop has come to on its own."""
        self._rng.take_over()

    def prepare(self) -> bool:
        """Read the next batch if the pass has one; False if the loop goes on to the next pass."""
        if self._ahead is not None:
            return True
        if not self._is_to_end():
            start = time.perf_counter()
            found = self._read_ahead(self.position()._replace(ahead=True))
            self._passes.ahead_seconds += time.perf_counter() - start
            if found:
                return True
            self._passes.pass_ends()
        self._end_pass()
        return False

    def _read_ahead(self, before: LoopPosition) -> bool:
        """Read the next batch, without the random numbers for it; False at the end of a pass."""
        start = self._start
        if (batch := self._read()) is None:
            return False
        before = before if self._start is start else before._replace(begun=self._start)
        self._ahead = self._read_from(before, batch)
        self._rng.seek(before.rng)
        return True

    def _read_from(self, before: LoopPosition, batch: Batch) -> Ahead:
        """A batch that was just read, from a position."""
        settings, after = self._batching.settings, self._rng.position()
        return Ahead(batch, before, settings, self._place(), after, self.reads_once)

    def next(self) -> Batch:
        batch = self._next()
        if self._tried is not None and not makes_anew(self.loader):
            self._tried.see(batch.data)
        return batch

    def _next(self) -> Batch:
        if self._ahead is not None:
            spent, self._ahead = self._ahead, None
            self._spent = spent
            # A loop that cannot make a step again is given what was read before the change.
            if spent.once or not self.repeats or spent.settings == self._batching.settings:
                self._rng.seek(spent.after)
                return spent.batch
            self._spent = None
            self.seek(spent.before)
        before = LoopPosition(*self._place(), self._start, self._rng.position(), None)
        while True:
            if self._is_to_end():
                self._end_pass()
            found = self._read()
            if found is not None:
                self._spent = self._read_from(before, found)
                return found
            self._end_pass()

    def _is_over(self) -> bool:
        return self._pass is None or self._passes.cut

    def _is_to_end(self) -> bool:
        """True if the pass is over, and the loop does not know it yet, as after a rewind."""
        return self._is_over() and self._passes.in_pass and self._number >= 0

    def _end_pass(self) -> None:
        self._pass, self._on_its_own = None, True
        self._rng.let_go()
        self._passes.end_pass()

    def _read(self) -> Batch | None:
        """Read a batch, the first of the next pass if this one is over; None at its end."""
        if self._is_over():
            self._begin()
        assert self._pass is not None
        data: Any = None
        with self._rng:
            try:
                data = self._pass.next()
            except StopIteration:
                return None
        return self._batch(data)

    def _begin(self) -> None:
        """Begin the next pass."""
        loader = self._passes.next_loader()
        if self._on_its_own or self._passes.cut:
            self._rng.take_over()
        self._passes.cut = self._on_its_own = False
        self._rng.begin()
        self._maker.take(loader, self.loader)
        start = self._maker.start(loader, self._rng.position())
        self._first = self._first or start
        with self._rng:
            self._pass = self._maker.made(loader)
        self._number, self._start = self._number + 1, start

    def _batch(self, data: Any) -> Batch:
        assert self._pass is not None
        progress = self._maker.progress(self._pass.read)
        add_form(self.forms, data)
        return UserBatch(data, count_samples(data), self._number, progress)

    def skip(self) -> Batch:
        raise DataError("A batch of your own loop is not known before it is read.")

    def position(self) -> LoopPosition:
        if self._ahead is not None:
            return self._ahead.before
        held = None if self.state is None else self.state.now(sparing=True)
        return LoopPosition(*self._place(), self._start, self._rng.position(), held)

    def _place(self) -> tuple[int, bool, int]:
        return self._number, self._pass is not None, 0 if self._pass is None else self._pass.read

    def seek(self, position: LoopPosition, put_back: Callable[[], None] = lambda: None) -> None:
        """Go to a position; `put_back` writes what its pass reads, where that begins again."""
        ahead, self._ahead = self._ahead or self._spent, None
        if ahead is not None and ahead.place == self._place() and ahead.is_behind(position):
            self._ahead = ahead._replace(before=position)
            self._rng.seek(position.rng)
            return
        moved = self._place() != position[:3] or self._start is not position.start
        if moved or position.begun is not None:
            for start in (self._start, position.start, position.begun):
                check_reread(start, self._passes)
            put_back()
            self._go(position)
        if position.start is not None or position.begun is not None or self._first is None:
            if position.held is not None:
                position.held.restore()
            if position.begun is None:
                # Else beginning the pass has drawn.
                self._rng.seek(position.rng)
        again = position.ahead or position.start is None  # Beginning the first pass has drawn.
        self._order = order_of(self.loader) if again else None

    def go_back(self, position: LoopPosition, put_back: Callable[[], None]) -> None:
        """Return to a position; `put_back` writes what the loop holds of the data."""
        self.seek(position, put_back)
        put_back()
        if self.read_ahead_again(position):
            put_back()

    def read_ahead_again(self, position: LoopPosition) -> bool:
        """Read the batch behind a position that was just sought, if it was read ahead there.

        True if parts of the data that code holds, put back already, are to be put back again.
        """
        if self._ahead is not None or self._pass is None:
            return False
        for held in (position.held, self._order):
            if held is not None:
                held.restore()
        return position.ahead and self._read_ahead(position)

    def _go(self, position: LoopPosition) -> None:
        """Begin the pass of a position again, and go on to the position."""
        start, number, under_way, read = position.reached_from(self._first)
        # The position decides where the loop goes on, and not where it was left.
        self._passes.cut = False
        self._number, self._start, self._pass = number, start, None
        if start is None:
            self._number = position.number
            return
        # Loaders of other passes may have had another batch size.
        self._maker.describe(start.loader)
        if not under_way:
            return
        self._rng.seek(start.rng)
        start.restore()
        with self._rng:
            self._pass = self._maker.made(start.loader)
            self._pass.skip(read)

    @contextmanager
    def keep_everything(self) -> Iterator[None]:
        check_reread(self._start, self._passes)
        around, self._tried = self._tried, KeptBatches()
        if self._spent is not None:  # It may be made again, without being read again.
            self._tried.see(self._spent.batch.data)
        try:
            yield
        finally:
            self._tried.restore()
            self._tried = around

    def end_trial(self, keep: bool) -> None:
        """Put back what the steps on trial wrote into batches, unless they are kept."""
        assert self._tried is not None
        (self._tried.clear if keep else self._tried.restore)()

    def close(self) -> None:
        self._passes.close()  # A training that nobody can reach was not closed by anybody.
        self._pass = self._ahead = self._spent = None
