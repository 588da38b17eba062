"""Input of a check: a training between two steps, with some of its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import nn

from nbdebug.checks._activation_outputs import Watched, eval_by_batch, set_train, watch
from nbdebug.checks._safe_loss import MissingRowError, SafeLoss, out_of_range
from nbdebug.checks._samples import Samples
from nbdebug.core.contexts import contextmanager
from nbdebug.core.deprecated import warn_deprecated
from nbdebug.errors import CheckStopped
from nbdebug.model.module.forward import call, detached, split
from nbdebug.model.training_state import TrainingState

ACTIVATION_SAMPLES = 64
Kept = tuple[nn.Parameter, torch.Tensor | None]
Evaluate = Callable[[Any], tuple[Any, Any, Any]]


class CheckContext:
    """The training that a check examines; all checks get the same batches.

    Attributes:
        subject: model, optimizer and settings.
        loss_fn: the user's loss function, None if training uses a `step_fn`.
        step: number of updates so far; 0 means that the weights are the initial ones.
        batches: some training batches on the device, full batches first.
        samples: access to all training and validation data.
        rebuilt: True if `evaluate` computes the model and the loss of a loop's steps, without what
            else these do.
        host_draws_seeded: True if training seeds NumPy's and Python's generators for the model.
        shared: results that several checks need, by name; of the unmodified model.
        progress: callback that `report_progress` calls with the completed share.
    """

    def __init__(
        self,
        subject: TrainingState,
        loss_fn: Callable[..., Any] | None,
        evaluate: Evaluate,
        batches: Sequence[Any],
        samples: Samples,
        step: int = 0,
        halting: Callable[[], bool] = lambda: False,
        host_draws_seeded: bool = True,
        rebuilt: bool = False,
        put_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.subject, self.loss_fn, self._evaluate = subject, loss_fn, evaluate
        self._put_back = put_back
        self._safe_loss = None if loss_fn is None else SafeLoss(loss_fn, subject.device)
        self.batches, self.samples, self.step = batches, samples, step
        self._halting, self.host_draws_seeded = halting, host_draws_seeded
        self.rebuilt = rebuilt
        self._first: Any = None
        self._gradients: tuple[float, list[Kept]] | None = None
        # Results that several checks need, valid while the model is unmodified.
        self.shared: dict[str, Any] = {}
        # Layers that training runs in eval mode, such as a frozen BatchNorm.
        modules = list(self.model.modules()) if self.model.training else []
        self._resting = [module for module in modules if not module.training]
        self.begin()
        self.progress: Callable[[float], None] = lambda share: None

    @property
    def in_loop(self) -> bool:
        """True if `evaluate` gives a batch to a loop of the user's own."""
        return not self.rebuilt and getattr(self.subject, "body", None) is not None

    @property
    def model(self) -> nn.Module:
        return self.subject.model

    @property
    def batch(self) -> Any:
        """The first batch."""
        return self.batches[0]

    @cached_property
    def inputs(self) -> Any:
        """Inputs of the first batch."""
        return split(self.batch)[0]

    @cached_property
    def targets(self) -> Any:
        """Targets of the first batch."""
        return split(self.batch)[1]

    @cached_property
    def data(self) -> Sequence[Any]:
        """Batches to read: the model and the loss, which may be a loop, are given `batches`."""
        others = self.samples.others
        return self.batches if others is None else list(others()) or self.batches

    @cached_property
    def alike(self) -> list[tuple[Any, Any]]:
        """Inputs and targets of all batches whose samples have the same shapes as the first."""
        return alike(self.batches)

    @cached_property
    def activations(self) -> dict[str, Watched]:
        """Outputs of the activations of the unmodified model for some samples, by name."""
        return self.watch_activations()

    def watch_activations(self) -> dict[str, Watched]:
        """Outputs of the activations of the model as it is now for some samples, by name."""
        enough = -(-ACTIVATION_SAMPLES // self.samples.batch_size)
        return watch(self.model, self.batches[:enough], self.look, self._resting, self.in_loop)

    def evaluate(self, batch: Any) -> tuple[Any, Any, Any]:
        """Return loss, outputs and targets of a batch.

        Each evaluation begins with what the user's code has counted so far; see `in_turn`.
        """
        self._put_back()
        return self._evaluate(batch)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Context in which the user's code counts on from one evaluation to the next."""
        body = getattr(self.subject, "body", None)
        put_back, self._put_back = self._put_back, lambda: None
        try:
            with nullcontext() if body is None else body.looks.in_turn():
                yield
        finally:
            self._put_back = put_back

    def train(self) -> None:
        """Put the model in training mode, except for layers that training runs in eval mode."""
        set_train(self.model, self._resting)

    def eval_by_batch(self) -> None:
        """Put the model in eval mode, but BatchNorm in training mode.

        Of a loop of the user's own, whose code may mind the mode, dropout alone is in eval mode.
        """
        eval_by_batch(self.model, self._resting, self.in_loop)

    def eval_step(self) -> None:
        """Put the model in eval mode for evaluations of the step; in a loop as `eval_by_batch`."""
        if self.in_loop:
            self.eval_by_batch()
        else:
            self.model.eval()

    def begin(self) -> None:
        """Start the next check: the current weights count as unmodified from here on."""
        self._begun = self._versions()

    @property
    def is_unmodified(self) -> bool:
        """True if no weight was written to since the check began."""
        return self._versions() == self._begun

    def look(self, batch: Any) -> tuple[Any, Any, Any]:
        """Loss, outputs and targets of a batch, detached, in the current mode.

        A `step_fn` gets gradients as in training: it may call backward or autograd.grad itself.
        """
        with torch.set_grad_enabled(self.loss_fn is None):
            loss, outputs, targets = self.evaluate(batch)
        return detached(loss), detached(outputs), targets

    @cached_property
    def out_of_range(self) -> Exception | None:
        """Exception of the first batches on a GPU, where they must not run; None if they may."""
        return out_of_range(self.subject, self._safe_loss, self.batches)

    def refuse_out_of_range(self, runs_loss: bool) -> None:
        """Raise what is out of range; a check that runs no loss minds the model alone."""
        error = self.out_of_range
        if error is not None and (runs_loss or isinstance(error, MissingRowError)):
            raise error

    def loss_of(self, outputs: Any, targets: Any) -> torch.Tensor:
        """Loss of outputs and targets that may be made up; of a training with a `loss_fn`.

        Raises:
            Exception: whatever the loss raises, on a GPU before it runs there.
        """
        assert self._safe_loss is not None  # a check that has outputs and targets has one
        self._put_back()
        loss: torch.Tensor = self._safe_loss(outputs, targets)
        return loss

    def loss_value(self, outputs: Any, targets: Any) -> float:
        """Loss of outputs and targets, as `loss_of`, as a number."""
        return float(detached(self.loss_of(outputs, targets)))

    def outputs(self, inputs: Any | None = None) -> Any:
        """Outputs of the model in eval mode, without gradients.

        Without `inputs`, the inputs of the first batch are used. The outputs of the unmodified
        model are computed once for all checks: do not write to them.
        """
        self.model.eval()
        if inputs is None and self.is_unmodified:
            if self._first is None:
                self._first = self._call(self.inputs)
            return self._first
        return self._call(self.inputs if inputs is None else inputs)

    @cached_property
    def batch_outputs(self) -> Any:
        """Outputs of the unmodified model for the first batch, in the modes of `eval_by_batch`."""
        return self.outputs_by_batch()

    def outputs_by_batch(self) -> Any:
        """Outputs of the model for the first batch, in the modes of `eval_by_batch`."""
        self.eval_by_batch()
        try:
            return self._call(self.inputs)
        except ValueError:
            # A single value per channel, by which BatchNorm cannot normalise.
            self.model.eval()
            return self._call(self.inputs)

    def _call(self, inputs: Any) -> Any:
        with torch.no_grad():
            return call(self.model, inputs)

    def gradients(self) -> float:
        """Loss of the first batch in training mode; its gradients are left in the parameters.

        The gradients of the unmodified model are computed once for all checks.
        """
        self.train()
        known, untouched = self._gradients, self.is_unmodified
        if known is not None and untouched:
            for parameter, gradient in known[1]:
                parameter.grad = None if gradient is None else gradient.clone()
            return known[0]
        self.subject.optimizer.zero_grad()
        loss = self.evaluate(self.batch)[0]
        loss.backward()
        value = float(loss.detach())
        if untouched:
            self._gradients = (
                value,
                [(p, None if p.grad is None else p.grad.clone()) for p in self.model.parameters()],
            )
        return value

    def _versions(self) -> tuple[int, ...]:
        """Version counters of the parameters, which grow with every write."""
        return tuple(p._version for p in self.model.parameters())

    def report_progress(self, share: float = 0.0) -> None:
        """Report the completed share, 0 to 1; call this regularly in an expensive check.

        Raises:
            CheckStopped: the user asked to stop.
        """
        self.progress(share)
        if self._halting():
            raise CheckStopped("Stopped on request.")

    def go_on(self, share: float = 0.0) -> None:
        """Call `report_progress` (deprecated alias)."""
        warn_deprecated("CheckContext.go_on", "report_progress")
        self.report_progress(share)


def alike(batches: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Inputs and targets of all batches whose samples have the same shapes as the first."""
    pairs = [split(batch) for batch in batches]
    shapes = [(_shape(inputs), _shape(targets)) for inputs, targets in pairs]
    return [pair for pair, shape in zip(pairs, shapes, strict=True) if shape == shapes[0]]


def _shape(part: Any) -> tuple[int, ...] | None:
    """Shape of one sample [...] of a batch; None if the part is not a tensor."""
    return tuple(part.shape[1:]) if isinstance(part, torch.Tensor) else None
