"""Model, optimizer and settings of a training, as controls and probes see them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.results.loops.ranks import RankSpread
from nbdebug.model.activations.swap import Activations
from nbdebug.model.batchnorm import BatchNorms
from nbdebug.model.clipping.recurrent import RecurrentClipping
from nbdebug.model.clipping.settings import Clipping, parameter_layers
from nbdebug.model.dropout import DropoutSite, dropouts
from nbdebug.model.freezing import Freezing, learnable
from nbdebug.model.initialisation import Initialisation
from nbdebug.model.joint_optimizer import JointOptimizer
from nbdebug.model.metrics import Metrics
from nbdebug.model.module.forward import LossFn
from nbdebug.model.module.modes import Modes
from nbdebug.model.module.parts import Composition
from nbdebug.model.module.sharded import is_sharded
from nbdebug.model.optimizers import Optimizers
from nbdebug.model.order.layer_order import LayerOrder
from nbdebug.model.origin.compared import Compared, LossReader
from nbdebug.model.sample_edits import SampleEdits
from nbdebug.model.schedule.live import Schedule
from nbdebug.model.schedule.ratios import GroupRatios
from nbdebug.model.state.model_state import undisturbed
from nbdebug.model.state.surroundings import Surroundings


class Batching:
    """Settings of how batches are drawn.

    Attributes:
        size: samples in a batch; read for every batch.
        accumulate: batches of a step, fewer at the end of an epoch.
        limit: number of samples, None for a stream.
        ahead: batches that loader workers have prefetched; a new size takes effect after
            them.
        fixed: reason why the size cannot be changed, "" if it can.
        batches: number of batches an epoch, if the data decides it; None otherwise.
        sample_edits: samples that are excluded or relabelled.
    """

    def __init__(self, size: int, limit: int | None, ahead: int = 0) -> None:
        self.size, self.accumulate = size, 1
        self.limit = limit
        self.ahead = ahead
        self.fixed = ""
        self.batches: int | None = None
        self.sample_edits = SampleEdits()

    @property
    def settings(self) -> tuple[Any, ...]:
        """The settings that decide samples and targets of the next step."""
        edits = self.sample_edits
        return self.size, self.accumulate, edits.excluded, edits.relabelled

    @property
    def remaining(self) -> int | None:
        """Number of samples that are not excluded, None for a stream."""
        return None if self.limit is None else self.limit - len(self.sample_edits.excluded)


class TrainingState:
    """Model, optimizer and settings of one training.

    Attributes:
        model: the user's module, always the same object.
        optimizers: the optimizer in force (`optimizer`) and its `schedule`.
        named_optimizers: several optimizers by name, which are one in `optimizer`; empty for one.
        by_optimizer: loss, gradient norm before and after clipping, and learning rate of each that
            made its update in the current step.
        turn: names of the parameters whose optimizer makes its update, None for all.
        validated: True if there is validation data.
        parameters: names and parameters that are trainable or can be unfrozen, from input to
            output.
        generation: number of times that the model had other parts than before.
        rates, decays: ratios of the groups to that whose learning rate is `lr`, or whose
            `weight_decay` is that of the control.
        with_gradient: names and parameters that have a gradient in the current step;
            grad_norms: its norms, before clipping, one 0-d tensor for each of them.
        without_gradient: trainable parameters without a gradient in the last step, by name, with
            the first step of the row without one.
        outputs, targets: of the current step, None between steps or with a `step_fn`.
        compared: what the loss of a loop or a `step_fn` compares, where a due probe reads that;
            loss_reader: finds it.
        again: calls the model once more on the inputs of the current step; None if outputs
            is None.
        loss: of the current step; batch_loss: of `outputs` and `targets`, which are those of the
            last batch of a step; loss_fn: None if training has a `step_fn`.
        checkpoint_bytes: memory that checkpoints take.
        recorded_in: name of the store that the run is recorded in, "" for none.
        exclude_nonfinite: if True, a batch with NaN or Inf in its loss or gradient is skipped
            instead of stopping.
        surroundings: what loss, step function and metrics reach beside the model.
        rng: context in which torch's global generators are those of training.
        loop_schedulers: returns the schedulers that a loop of the user's own steps.
        stepped_by_loop: those that were found last; stepped_beside: of other optimizers.
        clipped_by_loop: True if a loop of the user's own has clipped gradients before an update.
        unavailable: controls that this kind of training cannot take, with the reason.
        together: True where several ranks train together: none may run the model on its own.
        spread: numbers of all ranks, taken last; None without other ranks.
        sharded: True if each rank holds a part of the parameters, as with FSDP.
    """

    stepped_by_loop: Sequence[LRScheduler] = ()
    stepped_beside: Sequence[LRScheduler] = ()
    clipped_by_loop = together = False
    spread: RankSpread | None = None

    def __init__(
        self,
        model: nn.Module,
        optimizers: Optimizers,
        batching: Batching,
        device: torch.device,
        metrics: Metrics,
    ) -> None:
        self.model, self.optimizers = model, optimizers
        held = optimizers.current
        several = held if isinstance(held, JointOptimizer) else None
        self.named_optimizers = {} if several is None else several.members
        self.batching = batching
        self.device = device
        self.metrics = metrics
        self._composition, self._following = Composition(model), threading.Lock()
        self.generation = self._parts_of = 0
        self.parameters: tuple[tuple[str, nn.Parameter], ...] = learnable(model)
        self.sharded = any(is_sharded(parameter) for _, parameter in self.parameters)
        self.clipping = Clipping(parameter_layers([n for n, _ in self.parameters], model))
        # Tracing a model may run code of it, such as the power iteration of spectral_norm.
        with undisturbed(model):
            self.recurrent = RecurrentClipping(model)
            self.layer_order = LayerOrder(model)
            self.dropouts: dict[str, DropoutSite] = dropouts(model)
            self.batch_norms = BatchNorms(model)
            self.modes = Modes(model)
            self.activations = Activations(model)
            self.freezing = Freezing(model)
            self.initialisation = Initialisation(model)
        self.surroundings = Surroundings(model, {}, lambda: ())
        self.rng: AbstractContextManager[None] = nullcontext()
        self.rates, self.decays = GroupRatios(held, "lr"), GroupRatios(held, "weight_decay")
        self.validated = self.exclude_nonfinite = False
        self.loss_fn: LossFn | None = None
        self.checkpoint_bytes, self.recorded_in = 0, ""
        self._begin_step()
        self.loop_schedulers: Callable[[], Sequence[LRScheduler]] = lambda: ()
        self.unavailable: Mapping[str, str] = several.unavailable() if several else {}

    def _begin_step(self) -> None:
        """Begin the first step: nothing is measured yet."""
        self.outputs = self.targets = cast(object, None)
        self.again: Callable[[], Any] | None = None
        self.compared: Compared | None = None
        self.loss_reader = LossReader()
        self.loss = self.batch_loss = math.nan
        self.grad_norms: tuple[torch.Tensor, ...] = ()
        self.with_gradient: Sequence[tuple[str, nn.Parameter]] = ()
        self.by_optimizer: Mapping[str, tuple[float, float, float, float]] = {}
        self.turn: Collection[str] | None = None
        self.without_gradient: dict[str, int] = {}

    def follow_model(self) -> bool:
        """Take the parameters that the model has now; True if they or its modules are others.

        A loop of the user's own may exchange layers, add some or take some away.
        """
        with self._following:
            if self._composition.is_that_of_now():
                return False
            self._composition = Composition(self.model)
            self.parameters = learnable(self.model, {p for _, p in self.parameters})
            self.clipping.layers = parameter_layers([n for n, _ in self.parameters], self.model)
            self.recurrent.follow(self.model)
            self.generation += 1
            return True

    def follow_parts(self) -> None:
        """Take the layers that the model has now, before a command that may name or change them."""
        self.follow_model()
        with self._following:
            self.freezing.follow(self.model)
            if self._parts_of == self.generation:
                return
            self._parts_of = self.generation
            self.dropouts = dropouts(self.model)
            self.batch_norms.follow(self.model)
            self.modes.follow()
            self.initialisation.follow(self.model)
            with undisturbed(self.model):
                self.layer_order.follow()
                self.activations.follow()

    def drop_outputs(self) -> None:
        """Drop what the last step made of its batch."""
        self.outputs = self.targets = self.again = self.compared = None

    @property
    def compared_loss(self) -> float:
        """Loss of what `in_loss` returns."""
        return self.loss if self.outputs is None else self.batch_loss

    def in_loss(self) -> tuple[Any, Any]:
        """Outputs and targets of the current step, or what its loss compares if nobody gives them.

        (None, None) without either.
        """
        if self.outputs is None and self.compared is not None:
            return self.compared[:2]
        return self.outputs, self.targets

    def take_in(self, parameters: Iterable[nn.Parameter]) -> str:
        """Add newly trainable parameters to the optimizer and return a note about it.

        Raises:
            ModelError: the optimizer does not accept them; nothing is changed.
        """
        held = {p for group in self.optimizer.param_groups for p in group["params"]}
        missing = [parameter for parameter in parameters if parameter not in held]
        if not missing:
            return ""
        leader = self.lr_leader
        self.optimizers.take_in(missing, leader)
        return (
            f"The optimizer did not hold {len(missing)} of the parameters: they were added as a "
            f"new group, with the settings of group {leader}."
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.optimizers.current

    @property
    def lr_leader(self) -> int:
        """Index of the group whose learning rate is `lr`."""
        return self.rates.leader(self.optimizer)

    @property
    def lr(self) -> float:
        """Current learning rate of the group `lr_leader`."""
        return float(self.optimizer.param_groups[self.lr_leader]["lr"])

    @property
    def schedule(self) -> Schedule:
        return self.optimizers.schedule

    @property
    def is_scheduled(self) -> bool:
        """True if a schedule sets the learning rate, ours or one that a loop steps."""
        return bool(self.schedule.schedulers or self.stepped_by_loop)
