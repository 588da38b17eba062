"""Copies of what the body of a loop moves in a step, to put back where the update is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from nbdebug.model.module.forward import tensors_of
from nbdebug.model.module.parts import Structure
from nbdebug.model.state.copying import cloned
from nbdebug.model.state.optimizer import OptimizerCopy
from nbdebug.model.state.values.copier import ValueCopier
from nbdebug.model.state.values.kept import MISSING, Done, Kept
from nbdebug.model.state.values.places import GENERATOR_TYPES
from nbdebug.model.state.weights import GradientCopies, Weights, trained
from nbdebug.training.data.loops.kept_batches import KeptBatches
from nbdebug.training.engine.session import Session


class AtStop:
    """All that trains, where an update is left out at a breakpoint: the body goes on behind it."""

    def __init__(self, session: Session) -> None:
        self._session, seen = session, set[int]()
        self._weights = Weights.capture(session.model)
        self._optimizers = [OptimizerCopy.capture(one, seen) for one in session.optimizers.all]
        self._around = session.surroundings.capture()
        # A scaler, in the middle of its step, goes on with the body.
        for place, (reached, _) in list(self._around.places.items()):
            if isinstance(reached.value, torch.amp.GradScaler):
                del self._around.places[place]
        self.versions = _versions(session)

    def restore(self) -> None:
        """Put back what the body trained behind the update that was left out."""
        for one in self._optimizers:
            one.restore()
        self._weights.restore(self._session.model)
        self._around.restore()


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
        self._others = list(_others(session)) if stops else []
        self._around = session.surroundings.capture_records() if stops else None
        self._structure = Structure(session.model, session.optimizer) if stops else None
        self._versions = _versions(session) if stops else {}
        self._groups = _options(session.optimizer) if stops else []

    def restore_gradients(self) -> None:
        """Put the gradients back that the step added to."""
        if self._gradients is not None:
            self._gradients.restore()

    def restore(self, stop: AtStop | None) -> bool:
        """Put what the loop and its batch hold back.

        Args:
            stop: where an update was left out.

        Returns:
            True if all is as it was; False if the body changed what trains before that place.
        """
        if stop is not None:
            stop.restore()
        if self._session.scaler is not None and self._scale is not None:
            self._session.scaler.load_state_dict(self._scale)
        for one, kept in self._others:
            kept.restored(one, {})
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
        return stop is not None and self._versions == stop.versions


def _versions(session: Session) -> dict[int, int]:
    """Numbers of writes into all that trains, by the tensor.

    Buffers of the model are put back with every step that fails.
    """
    held: list[torch.Tensor] = list(session.model.parameters())
    states: list[Any] = [one.state for one in session.optimizers.all]
    for value in session.surroundings.values():
        if isinstance(value, nn.Module):
            held += [*value.parameters(), *value.buffers()]
        elif isinstance(value, torch.optim.Optimizer):
            states.append(value.state)
    held += [one for state in states for kept in state.values() for one in tensors_of(kept)]
    passing = {id(one) for one in session.model.buffers()}
    return {
        id(one): one._version for one in held if id(one) not in passing and not one.is_inference()
    }


def _others(session: Session) -> Iterator[tuple[Any, Kept]]:
    """Scalers and random generators of the loop's own, and copies of them."""
    copier = ValueCopier((), cloned)
    for one in session.surroundings.values():
        own_scaler = isinstance(one, torch.amp.GradScaler) and one is not session.scaler
        if own_scaler or isinstance(one, GENERATOR_TYPES):
            yield one, copier.keep(one)


def _options(optimizer: torch.optim.Optimizer) -> list[tuple[dict[str, Any], dict[str, Kept]]]:
    """Groups of an optimizer, and copies of their options."""
    copier = ValueCopier()
    return [
        (group, {name: copier.keep(group[name], name) for name in group if name != "params"})
        for group in optimizer.param_groups
    ]
