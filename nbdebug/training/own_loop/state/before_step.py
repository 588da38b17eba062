"""Copies of what the body of a loop moves in a step, to put back where the update is left out."""

from __future__ import annotations

from typing import Any

import torch

from nbdebug.model.module.parts import Structure
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.kept import MISSING, Done, Kept
from nbdebug.model.state.weights import GradientCopies, trained
from nbdebug.training.data.loops.kept_batches import KeptBatches
from nbdebug.training.engine.session import Session


class BeforeStep:
    """State before a step of a loop.

    Args:
        carries: the step adds to gradients that were there before.
        stops: the step may be stopped before its update, and made again.
        batch: the first one of the step.
    """

    def __init__(self, session: Session, carries: bool, stops: bool, batch: Any) -> None:
        self._session, self._batches = session, KeptBatches()
        if stops:
            self._batches.see(batch)
        self._gradients: GradientCopies | None = None
        if carries:
            held = trained(session.model, session.optimizer)
            self._gradients = GradientCopies(held)
        scaler = session.scaler
        self._scale = scaler.state_dict() if scaler is not None and stops else None
        self._around = session.surroundings.capture_records() if stops else None
        self._structure = Structure(session.model, session.optimizer) if stops else None
        self._versions = self._now() if stops else []
        self._groups = _options(session.optimizer) if stops else []

    def restore_gradients(self) -> None:
        """Put the gradients back that the step added to."""
        if self._gradients is not None:
            self._gradients.restore()

    def restore(self) -> bool:
        """Put what the loop and its batch hold back; False if its body changed weights."""
        if self._session.scaler is not None and self._scale is not None:
            self._session.scaler.load_state_dict(self._scale)
        if self._structure is not None:
            self._structure.restore()
        if self._around is not None:
            self._around.restore()
        self._batches.restore()
        for group, options in self._groups:
            # What the body sets after the update, such as a rate.
            for name in group.keys() - options.keys() - {"params"}:
                del group[name]
            done: Done = {}
            for name, kept in options.items():
                group[name] = kept.restored(group.get(name, MISSING), done)
        return self._versions == self._now()

    def _now(self) -> list[int]:
        return [parameter._version for _, parameter in self._session.parameters]


def _options(optimizer: torch.optim.Optimizer) -> list[tuple[dict[str, Any], dict[str, Kept]]]:
    """Groups of an optimizer, and copies of their options."""
    copier = ValueCopier()
    return [
        (group, {name: copier.keep(group[name], name) for name in group if name != "params"})
        for group in optimizer.param_groups
    ]
