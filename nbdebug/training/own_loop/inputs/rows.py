"""Rows that a loop trains with, and those of what it logs as a validation."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from nbdebug.core.contexts import contextmanager
from nbdebug.core.history.history import History
from nbdebug.core.results.loops.compared import TrainingRows
from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.hooks import after_any_forward, before_any_forward
from nbdebug.model.origin.source_line import user_line

# Numbers that are read of a row; calls and rows that are kept, of training and of a validation.
MAX_NUMBERS, MAX_CALLS, MAX_ROWS, MAX_IN_STEP = 64, 8192, 2**18, 4
MIN_ROWS, MIN_SHARE, MIN_DIFFERENT = 24, 0.97, 0.9
PATIENCE, MAX_JUDGED = 2, 20
HELD_OUT = re.compile(r"(val|valid|validation|test|dev|held_?out)([_/.]|$)", re.IGNORECASE)
Validate = Callable[[Any], Any]
Seen = Callable[[nn.Module, Any], None]


class InputRows:
    """Tells of a validation all of whose rows the model was trained with, as it was given them.

    What a loop logs between two updates is of the rows that its model was called with since. Rows
    that come often by nature tell nothing, and neither does a loop that calls other networks or
    single layers besides.
    """

    def __init__(self) -> None:
        self._history = History()
        self._own, self._roots = set[int](), set[int]()
        self._number: Callable[[], int] = lambda: 0
        self.begin()

    def attach(
        self, history: History, roots: Iterable[nn.Module], number: Callable[[], int]
    ) -> None:
        """Set where what is found is written, the model or its parts, and what counts passes."""
        self._history, self._number, known = history, number, list(roots)
        self._roots = {id(root) for root in known}
        self._own = {id(module) for root in known for module in root.modules()}

    def begin(self) -> None:
        """Forget what was seen of the loop before."""
        self._trained: list[torch.Tensor] = []
        self._first: int | None = None
        self._rows = self._alike = self._judged = 0
        self.wanted = True
        self.step_begins(False)
        self.clear()

    def close(self) -> None:
        """Take note of no rows of training any more."""
        self.wanted = False
        self._given.clear()

    def step_begins(self, watched: bool) -> None:
        """Begin a step, `watched` unless it is made on trial."""
        self._watched, self._given = watched, list[torch.Tensor]()

    def clear(self) -> None:
        """Begin what lies between two updates, or between two logs."""
        self._evaluated: list[torch.Tensor] = []
        self._inside, self._alone, self._line = False, True, ""

    def given(self, args: Any) -> None:
        """See the arguments of a call in a training step."""
        found = _marks(args) if self._watched else None
        if found is not None and len(self._given) < MAX_IN_STEP:
            self._given.append(found)

    def passed_back(self) -> None:
        """Take note of the rows of a step, whose outputs are passed back, in the first pass."""
        if not self.wanted:
            return
        now = self._number()
        self._first = now if self._first is None else self._first
        self._trained += self._given
        self._rows += sum(map(len, self._given))
        self._given = []
        full = len(self._trained) >= MAX_CALLS or self._rows >= MAX_ROWS
        self.wanted = now == self._first and not full

    def entered(self, module: nn.Module, args: Any) -> None:
        """See a call of a module begin, which belongs to no step."""
        self._inside = self._inside or id(module) in self._roots

    def called(self, module: nn.Module, args: Any) -> None:
        """See a call of a module that belongs to no step."""
        if id(module) in self._roots:
            self._inside = False
            found = _marks(args) if self._judged < MAX_JUDGED else None
            if found is None or len(self._evaluated) >= MAX_CALLS:
                self._alone = False
            else:
                self._evaluated.append(found)
                self._line = self._line or user_line()
        elif not self._inside:
            mine = id(module) in self._own or next(module.parameters(), None) is not None
            self._alone = self._alone and not mine

    def logged(self, names: Iterable[str], step: int) -> None:
        """See what the loop says of the rows since it did last."""
        rows, line, alone = self._evaluated, self._line, self._alone
        self.clear()
        if rows and any(HELD_OUT.match(name) for name in names):
            # What is not understood says nothing, and the loop goes on.
            with suppress(Exception):
                self._judge(rows if alone else [], line, step)

    def _judge(self, rows: list[torch.Tensor], line: str, step: int) -> None:
        self._judged += 1
        share, count = _compared(self._trained, rows)
        self._alike = self._alike + 1 if share >= MIN_SHARE else 0
        told = self._history.results.of(TrainingRows)
        if self._alike == PATIENCE:
            self._history.set_result(TrainingRows(step, count, line))
        elif not self._alike and told is not None and told.step is not None:
            self._history.set_result(TrainingRows(None))

    def watching(self, validate: Validate | None, step: Callable[[], int]) -> Validate | None:
        """A function that validates a model, whose rows are seen; None without one."""
        if validate is None or not callable(validate):
            return validate

        @functools.wraps(validate)
        def watched(model: Any) -> Any:
            self.clear()
            with calls_seen(self.entered, self.called):
                found = validate(model)
            self.logged(["val"], step())
            return found

        return watched


@contextmanager
def calls_seen(entered: Seen, called: Seen) -> Iterator[None]:
    """Context in which calls of modules in this thread are seen, at their begin and end."""

    def before(module: nn.Module, args: Any) -> None:
        if not torch.compiler.is_compiling():
            with suppress(Exception):
                entered(module, args)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling():
            with suppress(Exception):
                called(module, args)

    handles = before_any_forward(before), after_any_forward(after)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _marks(args: Any) -> torch.Tensor | None:
    """A number [N] for each row of the first tensor, the same for the same numbers."""
    given = next(iter(tensors_of(args)), None)
    if given is None or given.ndim < 2 or not given.numel() or given.layout != torch.strided:
        return None
    rows = given.detach().reshape(len(given), -1)
    rows = rows[:, :: -(-rows.shape[1] // MAX_NUMBERS)]
    if rows.is_complex():
        return None
    if rows.is_floating_point():
        # Bits tell apart what a rounded sum would not; -0.0 is 0.0.
        whole = (rows.float() + 0.0).view(torch.int32).long()
    else:
        whole = rows.long()
    factors = torch.arange(1, whole.shape[1] + 1, device=rows.device) * 0x9E3779B97F4A7C1 | 1
    return ((whole ^ (whole >> 7)) * factors).sum(1)


def _compared(trained: list[torch.Tensor], rows: list[torch.Tensor]) -> tuple[float, int]:
    """Share of different rows that are among those of training, and how many they are."""
    if not trained or not rows:
        return 0.0, 0
    each, known = [one.cpu() for one in rows], torch.cat([one.cpu() for one in trained]).unique()
    found = torch.cat(each).unique()
    different = sum(len(one.unique()) for one in each) / sum(map(len, each))
    if len(found) < MIN_ROWS or different < MIN_DIFFERENT:
        return 0.0, 0
    return float(torch.isin(found, known).float().mean()), len(found)
