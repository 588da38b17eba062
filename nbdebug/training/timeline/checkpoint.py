"""Checkpoint of a training between two steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from nbdebug.model.clipping.settings import NormWindow
from nbdebug.model.module.parts import Structure
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import Copy, to_host
from nbdebug.model.state.optimizer import OptimizerCopy, copy_nested
from nbdebug.model.state.random_numbers.session_rng import RngPosition
from nbdebug.model.state.values.surroundings_copy import SurroundingsCopy
from nbdebug.model.state.values.written import CHECKPOINT_BYTES
from nbdebug.model.state.weights import GradientCopies, Weights, trained
from nbdebug.training.data.batch import Sampler, bytes_in
from nbdebug.training.data.loops.sampler import LoopSampler
from nbdebug.training.data.loops.written_batches import NO_COPIES, BatchCopies, WrittenBatches
from nbdebug.training.data.passes.held_out import NOTHING_HELD, HeldOut
from nbdebug.training.engine.control_set import ControlSet
from nbdebug.training.engine.loop import Loop
from nbdebug.training.engine.session import Session

# Steps in which it is not known yet if a loop carries gradients on.
FIRST_STEPS = 3
NO_GRADIENTS = GradientCopies(())


@dataclass(frozen=True)
class Counters:
    """Counters of a training; see `Session`."""

    step: int
    samples: int
    epoch: float
    skipped: int


@dataclass(frozen=True)
class Checkpoint:
    """Copies, in the host's memory, of everything that training continues from.

    A checkpoint holds weights, buffers, modes, optimizers, schedule, scaler, random numbers, data
    order, controls in force and counters. Model and optimizers stay the same objects.

    Attributes:
        gradients: those that a loop of the user's own carries on to the next step.
        held_out: what val_data hold; batches: what those hold that a loop keeps and writes into.
        structure: of a model that a loop of the user's own may exchange parts of; else None.
        followed: BatchNorm layers that are frozen, and `Session.updated_by_others`; None in a file.
        cursor: number of events in the edit log before this checkpoint.
        size: bytes of all tensors; after_update: what is pending, see `AfterUpdate`.
    """

    counters: Counters
    cursor: int
    weights: Weights
    optimizers: dict[str, OptimizerCopy]
    ratios: tuple[int, tuple[float, ...], int, tuple[float, ...]]
    schedule: tuple[Any, ...]
    fallback: int
    initialisation: Any
    scale: dict[str, Any] | None
    window: NormWindow
    rng: RngPosition
    position: Any
    controls: dict[str, Any]
    surroundings: SurroundingsCopy
    size: int
    after_update: tuple[Any, ...] = ()
    part_windows: Mapping[str, NormWindow] = field(default_factory=dict)
    gradients: GradientCopies = NO_GRADIENTS
    held_out: HeldOut = NOTHING_HELD
    batches: BatchCopies = NO_COPIES
    structure: Structure | None = None
    followed: tuple[Any, str] | None = None

    @property
    def step(self) -> int:
        return self.counters.step

    @classmethod
    def capture(
        cls, loop: Loop, controls: ControlSet, cursor: int = 0, copy: Copy = to_host
    ) -> Checkpoint:
        """Copy the state as it is now; with `outline` as `copy`, all but large tensors.

        Raises:
            ModelError: a lazy layer has no weights yet.
        """
        (session := loop.session).ready.end_looks()
        weights = Weights.capture(session.model, copy)
        optimizers = session.optimizers.capture(copy)
        unknown = CHECKPOINT_BYTES if session.untried else 0
        surroundings = session.surroundings.capture(copy, records=True, unknown=unknown)
        gradients, batches = _carried(session, copy), written_of(session).capture(copy)
        tensors = gradients.tensors + weights.tensors() + surroundings.tensors
        tensors += _tensors(optimizers) + [one.data for one in batches.tensors]
        return cls(
            Counters(session.step, session.samples, session.epoch, session.skipped),
            cursor,
            weights,
            optimizers,
            _ratios(session),
            session.schedule.capture(),
            session.schedule.fallback,
            session.initialisation.capture(),
            None if session.scaler is None else copy_nested(session.scaler.state_dict()),
            session.clipping.window.copied(),
            session.rng.position(),
            loop.position(),
            controls.values(),
            surroundings,
            bytes_in(tensors),
            loop.after_update.capture(),
            {name: part.window.copied() for name, part in session.clipping.parts.items()},
            gradients,
            session.held_out.capture(),
            batches,
            None if session.body is None else Structure(session.model, session.optimizer),
            (session.batch_norms.capture(), session.updated_by_others),
        )

    def restore(
        self, loop: Loop, controls: ControlSet, *, restart_data: bool = False, strict: bool = False
    ) -> None:
        """Restore everything.

        Args:
            restart_data: restart the data from its first batch, which works for a stream too.
            strict: refuse where a loop wrote into batches of which there is no copy.

        Raises:
            ModelError: the model is not the captured one; nothing was changed.
            DataError: the data cannot be read again from there; nothing was changed.
        """
        session = loop.session
        self._check(session, strict)
        session.ready.end_looks()
        self._seek(session.sampler, restart_data)
        session.optimizers.restore(self.optimizers)
        session.rates.keep(session.optimizer, self.ratios[1])
        session.decays.keep(session.optimizer, self.ratios[3])
        session.schedule.restore(self.schedule)
        # Controls of these parts have their values already and are not applied again.
        self._restore_controls(session, controls)
        session.schedule.fallback = self.fallback
        self.weights.restore(session.model)
        self.surroundings.restore()
        self._restore_batches(session, restart_data)
        session.held_out.restore(self.held_out)
        session.initialisation.restore(self.initialisation)
        session.clipping.window = self.window.copied()
        for name, window in self.part_windows.items():
            session.clipping.parts[name].window = window.copied()
        if session.scaler is not None and self.scale is not None:
            session.scaler.load_state_dict(copy_nested(self.scale))
        session.rng.seek(self.rng)
        self._count(loop)

    def _restore_controls(self, session: Session, controls: ControlSet) -> None:
        session.follow_parts()
        controls.restore(self.controls)
        norms, session.updated_by_others = self.followed or (None, "")
        if norms is not None:
            session.batch_norms.restore(norms)

    def _check(self, session: Session, strict: bool) -> None:
        if strict:
            written_of(session).check(self.batches)
        if self.structure is not None:
            self.structure.restore()
        self.weights.check(session.model)

    def _seek(self, sampler: Sampler, restart_data: bool) -> None:
        if restart_data:
            sampler.reset()
        elif isinstance(sampler, LoopSampler):
            # A list of samples that the loop has made longer is as long as it was.
            sampler.seek(self.position, self.surroundings.restore)
        else:
            sampler.seek(self.position)

    def _restore_batches(self, session: Session, restart_data: bool) -> None:
        """Put back what steps wrote into, and read the batch that a loop had read ahead of it."""
        written, sampler = written_of(session), session.sampler
        written.restore(self.batches)
        if not isinstance(sampler, LoopSampler):
            return
        if not restart_data and sampler.read_ahead_again(self.position):
            # Reading has moved what the loop holds of its data.
            self.surroundings.restore()
        # Of a dataset of batches the state was put back that was read with.
        written.restore(self.batches)

    def equals(self, other: Checkpoint) -> bool:
        """Tell if model, optimizer state and surroundings are bit-identical."""
        return (
            bitwise_equal(self.weights.parameters, other.weights.parameters)
            and bitwise_equal(self.weights.buffers, other.weights.buffers)
            and bitwise_equal(self.weights.attributes.plain(), other.weights.attributes.plain())
            and bitwise_equal(_tensors(self.optimizers), _tensors(other.optimizers))
            and self.surroundings.equals(other.surroundings, variables=False)
        )

    def _count(self, loop: Loop) -> None:
        session, counters = loop.session, self.counters
        session.step, session.samples = counters.step, counters.samples
        session.epoch, session.skipped = counters.epoch, counters.skipped
        for parameter in trained(session.model, session.optimizer):
            parameter.grad = None
        self.gradients.restore()
        session.grad_norms = session.with_gradient = ()
        loop.reset()
        loop.after_update.restore(self.after_update)


def _ratios(session: Session) -> tuple[int, tuple[float, ...], int, tuple[float, ...]]:
    """Leading groups of the learning rate and of the decay, and the ratios of all groups to them.

    Leading groups follow from the settings; files of earlier versions name them.
    """
    optimizer, rates, decays = session.optimizer, session.rates, session.decays
    leaders = rates.leader(optimizer), decays.leader(optimizer)
    return leaders[0], rates.kept(optimizer), leaders[1], decays.kept(optimizer)


def _tensors(optimizers: dict[str, OptimizerCopy]) -> list[torch.Tensor]:
    return [tensor for one in optimizers.values() for tensor in one.tensors()]


def written_of(session: Session) -> WrittenBatches:
    """The object that knows which batches the steps have written into."""
    sampler = session.sampler
    return sampler.written if isinstance(sampler, LoopSampler) else session.ready.written


def _carried(session: Session, copy: Copy) -> GradientCopies:
    """Gradients that the next step may need, of the model or of another network.

    Code of the user's may add to them over several steps.
    """
    body, own = session.body, trained(session.model, session.optimizer)
    found = trained(*session.surroundings.values())
    if body is None or not (session.step < FIRST_STEPS or body.updates.carry_gradients):
        known = {id(p) for p in own}
        found = [p for p in found if id(p) not in known]
    else:
        found = [*own, *found]
    return GradientCopies(found, copy) if found else NO_GRADIENTS
