"""Session of one training: model, optimizer, loss, sampler and device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.errors import ModelError
from nbdebug.model.factories import make_optimizer
from nbdebug.model.joint_optimizer import members_of
from nbdebug.model.metrics import Metrics
from nbdebug.model.module.forward import call, parts_of, split
from nbdebug.model.optimizers import Optimizers
from nbdebug.model.schedule.beside import STEPPED_BY_LOOP, names, outermost
from nbdebug.model.schedule.live import Schedule
from nbdebug.model.schedule.unit import ask_for_unit, own_scheduler
from nbdebug.model.state.other_threads import of_other_trainings
from nbdebug.model.state.random_numbers.session_rng import SessionRng
from nbdebug.model.state.surroundings import Root, Surroundings
from nbdebug.model.state.values.places import around_optimizer
from nbdebug.model.state.wrapped_optimizer import bare_optimizer
from nbdebug.model.training_state import TrainingState
from nbdebug.training.data.batch import CountSamples, count_samples, declared
from nbdebug.training.data.lazy_index_sampler import LazyIndexSampler
from nbdebug.training.data.loops.ready_batches import ReadyBatches
from nbdebug.training.data.loops.source import LoopSource
from nbdebug.training.data.passes.held_out import HeldOutState
from nbdebug.training.data.samplers import DirectSampler, make_batching, make_sampler
from nbdebug.training.data.sources import as_source
from nbdebug.training.data.stream_sampler import StreamSampler
from nbdebug.training.data.streams.own_place import OwnPlace
from nbdebug.training.data.val_function import ValidationFunction
from nbdebug.training.data.validation import Validation
from nbdebug.training.engine.setup import Setup, check_setup

DEFAULT_EPOCHS = 10
DEFAULT_STREAM_STEPS = 1000
SCHEDULE_CONTROLS = ("schedule", "schedule_steps", "schedule_factor", "warmup_steps")


class Session(TrainingState):
    """Components and position of one training.

    Attributes:
        step: the next step; samples: number of seen samples; epoch: whole epochs and a share;
        skipped: number of updates that the scaler skipped.
        logs: named values that `step_fn` returned with the last loss; loss_index: of the loss in
            what it returned, None if that was the loss.
        ready: puts back what looks write into ready batches.
        body: a loop of the user's own that makes the steps, or None.
        evaluated: the step in which the loss was last called; untried: True before the first step.
        updated_by_others: reason why controls of the optimizer would do nothing, "" if it makes
            the updates.
        schedule_unit: how the user's scheduler is stepped, where that was not said, or "".
        own_place: what a stream, or a sampler that is read like one, shares with the steps.
    """

    updated_by_others = ""
    own_place: OwnPlace | None = None

    def __init__(self, setup: Setup) -> None:
        check_setup(setup)
        dtype = _dtype(setup.model)
        count = None if setup.batch_size_of is None else declared(setup.batch_size_of)
        self._counts = count is not None
        source = as_source(setup.train_data, dtype, count=count or count_samples)
        self.together = setup.link is not None
        self.validation = _validation(setup, dtype, count)
        read = self.validation if isinstance(self.validation, Validation) else None
        self.held_out = HeldOutState(None, None) if read is None else read.state
        # The data is valid: only now the model may move to another device.
        model, device = _on_device(setup.model, setup.device)
        if isinstance(setup.loss_fn, nn.Module):
            setup.loss_fn.to(device)
        batching = make_batching(source, setup.train_data, setup.batch_size)
        optimizer = make_optimizer(
            setup.optimizer, setup.lr, model, setup.loss_fn, own_loop=isinstance(source, LoopSource)
        )
        batching.accumulate = setup.accumulate or 1
        batching.sample_edits.pairs_only = setup.step_fn is not None
        own = own_scheduler(setup.schedule, optimizer, setup.schedule_every)
        made = Optimizers(optimizer, Schedule(optimizer, own, setup.schedule_every == "epoch"))
        super().__init__(model, made, batching, device, Metrics(setup.metrics))
        self.loss_fn, self.step_fn = setup.loss_fn, setup.step_fn
        self.loss_name = "step_fn" if setup.loss_fn is None else "loss_fn"
        given = (one for one in (setup.train_data, setup.val_data) if isinstance(one, tuple))
        self._given = [part for one in given for part in one]
        self.surroundings = Surroundings(
            model, self._functions(setup), self._copied_elsewhere, setup.state, self.loss_name
        )
        self.sampler = make_sampler(source, setup.train_data, batching, setup.seed)
        self.ready, self.seed = _ready_batches(source, read), setup.seed
        self.rng: SessionRng = SessionRng(setup.seed, device)
        self.source, self.logs = source, dict[str, Any]()
        self.loss_index: int | str | None = None
        self._take_loop(source)
        self.scaler = setup.scaler if setup.scaler and setup.scaler.is_enabled() else None
        self.step, self.samples, self.epoch, self.skipped, self.evaluated = 0, 0, 0.0, 0, -1
        self.untried, self.validated = True, self.validation is not None
        self._begin_schedule(own, setup.schedule_every)

    def _keep_place(self, sampler: Any) -> None:
        """Leave a stream where it is when the objects that steps reach go back."""
        if isinstance(sampler, DirectSampler):
            # Workers read ahead, as in a plain loop.
            sampler = sampler.indices
        if isinstance(sampler, StreamSampler | LazyIndexSampler):
            self.own_place = sampler.reader.own_place
            self.own_place.surroundings = self.surroundings
            self.surroundings.behind = sampler.reader.restore_place

    def _functions(self, setup: Setup) -> dict[str, Any]:
        """Functions of the user's, by name."""
        found: dict[str, Any] = {
            self.loss_name: setup.loss_fn or setup.step_fn,
            **(setup.metrics or {}),
        }
        return found if setup.val_fn is None else {**found, "val_fn": setup.val_fn}

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters that an optimizer may hold, by name: of the model, and of its loss."""
        found = dict(self.model.named_parameters())
        if isinstance(self.loss_fn, nn.Module):
            found |= {f"loss_fn: {name}": p for name, p in self.loss_fn.named_parameters()}
        return found

    def _begin_schedule(self, own: LRScheduler | None, every: str | None) -> None:
        self.set_schedule_length(None, DEFAULT_EPOCHS)
        self.schedule_unit = ""
        if own is not None and every is None:
            self.schedule_unit = ask_for_unit(own, self.optimizer, self.steps_per_epoch)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Names of ready batches whose number of samples is read off their tensors."""
        if self._counts or self.body is not None:
            return ()
        held_out: Any = None if self.validation is None else self.validation.source
        sources = {"train_data": self.source, "val_data": held_out}
        return tuple(
            name for name, source in sources.items() if source is not None and source.ready
        )

    def _copied_elsewhere(self) -> Iterator[object]:
        yield from self.optimizers.all
        yield from self.schedule.schedulers
        yield self.scaler
        yield from [] if self.body is None else self.body.passing()
        # Whoever repairs a sample between two runs does not want it back after a rewind.
        yield from self._given

    def _around_optimizers(self) -> Iterator[Root]:
        for optimizer in self.optimizers.all:
            for member in members_of(optimizer):
                yield from around_optimizer(member)

    def _take_loop(self, source: Any) -> None:
        """Let a loop of the user's own make the steps, if there is one."""
        self.body: Any = None
        if not isinstance(source, LoopSource):
            self._keep_place(self.sampler)
            self.surroundings.more = self._around_optimizers
            return
        self.body, self.rng = source.body, source.rng
        around, state = self.surroundings, source.body.state
        around.others = lambda: of_other_trainings(self.optimizers.all, state.held)
        around.more, around.more_records, around.rebinds = state.roots, state.counts, True
        self.loop_schedulers = self._schedulers_of_loop
        self.unavailable = {**self.unavailable, **source.body.unavailable}
        self._schedulers_of_loop()

    def _schedulers_of_loop(self) -> Sequence[LRScheduler]:
        """Find the schedulers that the loop steps; our own schedule leaves them alone."""
        found = self.body.schedulers
        if found is None:
            ours = members_of(self.optimizer)
            known = [one for one in self.surroundings.values() if isinstance(one, LRScheduler)]
            found = [one for one in known if bare_optimizer(one.optimizer) in ours]
            self.stepped_beside = outermost(one for one in known if one not in found)
        self.stepped_by_loop = outermost(found)
        if self.stepped_by_loop and not self.schedule.running:
            reason = STEPPED_BY_LOOP.format(names(self.stepped_by_loop))
            self.unavailable = {**dict.fromkeys(SCHEDULE_CONTROLS, reason), **self.unavailable}
        return self.stepped_by_loop

    @property
    def steps_per_epoch(self) -> int | None:
        """Number of steps of one epoch as batches are drawn now, None if that is unknown."""
        batching, batches = self.batching, self.batching.batches
        if batches is None and batching.remaining is not None:
            batches = math.ceil(batching.remaining / batching.size)
        return None if batches is None else math.ceil(batches / batching.accumulate)

    @property
    def schedule_epoch(self) -> tuple[int, int]:
        """Steps to the next step of the schedule, and steps between two of them."""
        length = self.steps_per_epoch
        if not self.schedule.counts_epochs or not length:
            return 1, 1
        return max(1, round((1 - self.epoch % 1) * length)), length

    def set_schedule_length(self, steps: int | None, epochs: float | None = None) -> None:
        """Set the length of schedules that begin now, in steps or epochs; 10 epochs if unknown."""
        per_epoch = self.steps_per_epoch
        if steps is None and per_epoch is not None:
            steps = math.ceil(per_epoch * (DEFAULT_EPOCHS if epochs is None else epochs))
        self.schedule.fallback = max(steps or DEFAULT_STREAM_STEPS, 1)

    def note_gradients(self, named: Sequence[tuple[str, torch.nn.Parameter]]) -> None:
        """Note which trainable parameters have no gradient in this step.

        Args:
            named: those that have one.
        """
        if len(named) == len(self.parameters) and not self.without_gradient:
            return
        present = {name for name, _ in named}
        known = self.without_gradient
        self.without_gradient = {
            name: known.get(name, self.step)
            for name, parameter in self.parameters
            if parameter.requires_grad and name not in present
        }

    def evaluate(self, batch: Any) -> tuple[Any, Any, Any]:
        """Return loss, outputs and targets of a batch on the device.

        With a `step_fn` the last two are None unless it returns them; what it logs is in `logs`.
        """
        self.evaluated = self.step
        self.ready.look(batch)
        with self.batch_norms.measuring_once():
            if self.step_fn is not None:
                found = parts_of(self.step_fn(self.model, batch))
                self.logs, self.loss_index = found.logs, found.at
                return found.loss, found.outputs, found.targets
            assert self.loss_fn is not None  # check_setup requires one of the two
            inputs, targets = split(batch)
            outputs = call(self.model, inputs)
            return self.loss_fn(outputs, targets), outputs, targets


def _validation(
    setup: Setup, dtype: torch.dtype, count: CountSamples | None
) -> Validation | ValidationFunction | None:
    if setup.val_fn is not None:
        return ValidationFunction(setup.val_fn, setup.val_every, setup.val_grad)
    if setup.val_data is None:
        return None
    return Validation(setup.val_data, setup.val_every, dtype, setup.val_grad, count)


def _ready_batches(source: Any, validation: Validation | None) -> ReadyBatches:
    if isinstance(source, LoopSource):
        # Its sampler knows which batches the loop writes into.
        return ReadyBatches(())
    return ReadyBatches([source, *([] if validation is None else [validation.source])])


def _on_device(
    model: nn.Module, device: str | torch.device | None
) -> tuple[nn.Module, torch.device]:
    if device is not None:
        # With an index, so that it compares equal to the device of a tensor.
        wanted = torch.empty(0, device=device).device
        return model.to(wanted), wanted
    devices = {parameter.device for parameter in model.parameters()}
    first = next(model.parameters()).device
    if any(d.type == "meta" for d in devices):
        raise ModelError("The model is on the meta device: it has no weights to train.")
    return model, first


def _dtype(model: nn.Module) -> torch.dtype:
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, torch.get_default_dtype())
