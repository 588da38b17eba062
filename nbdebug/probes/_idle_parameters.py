"""Parameters that do not change, and the facts that tell why."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from nbdebug.model.freezing import values_of
from nbdebug.model.training_state import TrainingState
from nbdebug.probes.base import Values

UNHELD, UNCHANGED, AT_ZERO_RATE, RESTING = "unheld", "unchanged", "at_zero_rate", "resting"
CANCELLED = "cancelled"


class IdleParameters:
    """Follows parameters that a measured update did not change, until one changes them.

    A parameter may rest in each measured step and learn between them (turns, accumulated
    gradients, experts), so the weights are compared from measurement to measurement. Only those
    of suspects are copied.
    """

    def __init__(self, session: TrainingState) -> None:
        self._session = session
        self._said: dict[str | tuple[str, ...], None] = {}
        self.forget()

    def forget(self) -> None:
        """Forget all suspects: the next step does not follow the last one."""
        self._moved: torch.Tensor | None = None
        self._learn: list[int] = []
        self._step = 0
        self._copies: dict[int, torch.Tensor] = {}
        self._since: dict[int, int] = {}
        self._graded: dict[int, int] = {}
        self._kinds: dict[int, str] = {}
        # Of suspects: whether there is a gradient, and whether it is other than 0.
        self._gradients: dict[int, tuple[bool, bool]] = {}

    def before_update(self) -> None:
        """Look at the gradients of suspects, which the loop may clear after its update."""
        turn = self._session.turn
        if turn is None:
            self._gradients = {}
        for index in self._copies:
            name, parameter = self._session.parameters[index]
            if turn is None or name in turn:
                grad = parameter.grad
                moves = grad is not None and bool(values_of(grad).count_nonzero())
                self._gradients[index] = (grad is not None, moves)

    def measured(self, step: int, learn: list[int], moved: torch.Tensor) -> None:
        """Take the norms [L] of the update of the parameters with these indices."""
        self._step, self._learn, self._moved = step, learn, moved

    def compare(self) -> None:
        """Compare the weights with those at the last measurement."""
        if self._moved is None:
            return
        # The update was measured in an earlier step, so nothing waits for this transfer.
        still = {i for i, size in zip(self._learn, self._moved.tolist(), strict=True) if size == 0}
        self._moved = None
        # Those whose optimizer made no update in that step are suspects as before.
        moved = set(self._learn) - still
        for index in [i for i in self._copies if i in moved or self._changed(i)]:
            del self._copies[index], self._since[index], self._graded[index]
            self._kinds.pop(index, None)
        for index in still - self._copies.keys():
            self._copies[index] = self._session.parameters[index][1].detach().clone()
            self._since[index], self._graded[index] = self._step, 0

    def read(self, step: int) -> Values:
        """Values by series; 0 for a parameter that was a suspect once and changes now."""
        session = self._session
        found: dict[str | tuple[str, ...], torch.Tensor | float] = dict.fromkeys(self._said, 0.0)
        unheld = self._unheld()
        for name, since in session.without_gradient.items():
            found[f"{RESTING}/{name}"] = float(step + 1 - min(since, step))
        for index in self._copies:
            name, parameter = session.parameters[index]
            there, moves = self._gradients.get(index, (False, False))
            self._graded[index] += moves
            if not self._graded[index]:
                # A bias has a gradient of 0 where a difference or a normalisation follows.
                if there and parameter.ndim > 1:
                    count = float(step + 1 - self._since[index])
                    found[f"{RESTING}/{name}"] = found[f"{CANCELLED}/{name}"] = count
                continue
            kind = UNHELD if index in unheld else UNCHANGED
            if kind == UNCHANGED and self._rate(parameter) == 0:
                kind = AT_ZERO_RATE
            if self._kinds.setdefault(index, kind) != kind:
                # Updates from before, under another rate or optimizer, prove nothing now.
                self._kinds[index], self._graded[index] = kind, 1
            found[f"{kind}/{name}"] = float(self._graded[index])
        self._said.update(dict.fromkeys(found))
        return found

    def _changed(self, index: int) -> bool:
        return not torch.equal(self._session.parameters[index][1].detach(), self._copies[index])

    def _unheld(self) -> set[int]:
        if not self._copies:
            return set()
        held = {id(p) for group in self._session.optimizer.param_groups for p in group["params"]}
        return {i for i in self._copies if id(self._session.parameters[i][1]) not in held}

    def _rate(self, parameter: torch.Tensor) -> float:
        groups: Iterable[dict[str, object]] = self._session.optimizer.param_groups
        for group in groups:
            if any(p is parameter for p in group["params"]):  # type: ignore[attr-defined]
                return float(group["lr"])  # type: ignore[arg-type]
        return 0.0
