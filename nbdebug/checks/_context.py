"""What a check looks at: a training between two steps, with some of its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import nn

from nbdebug.checks._activation_outputs import Watched, watch
from nbdebug.checks._samples import Samples
from nbdebug.errors import CheckStopped
from nbdebug.model.module.forward import call, split
from nbdebug.model.training_state import TrainingState

SAMPLES = 64
Kept = tuple[nn.Parameter, torch.Tensor | None]
Evaluate = Callable[[Any], tuple[Any, Any, Any]]


class CheckContext:
    """One training under examination, always the same batches for every check.

    Attributes:
        subject: model, optimizer and settings.
        loss_fn: the user's, None when training has a `step_fn`.
        evaluate: loss, outputs and targets of a batch.
        step: updates made so far; 0 means the weights are the initial ones.
        batches: some training batches on the device, whole ones first.
        samples: all the data there is.
        progress: told the share of the check that is done, by `go_on`.
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
    ) -> None:
        self.subject, self.loss_fn, self.evaluate = subject, loss_fn, evaluate
        self.batches, self.samples, self.step = batches, samples, step
        self._halting = halting
        self._first: Any = None
        self._gradients: tuple[float, list[Kept]] | None = None
        self.begin()
        self.progress: Callable[[float], None] = lambda share: None

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
    def alike(self) -> list[tuple[Any, Any]]:
        """Inputs and targets of the batches whose samples have the shapes of the first one's."""
        pairs = [split(batch) for batch in self.batches]
        shapes = [(_shape(inputs), _shape(targets)) for inputs, targets in pairs]
        return [pair for pair, shape in zip(pairs, shapes, strict=True) if shape == shapes[0]]

    @cached_property
    def activations(self) -> dict[str, Watched]:
        """What activations give for some samples of the untouched model, by name."""
        enough = -(-SAMPLES // self.samples.batch_size)
        return watch(self.model, self.batches[:enough], self.evaluate)

    def begin(self) -> None:
        """The next check begins: from here on the model counts as untouched."""
        self._begun = self._versions()

    def outputs(self, inputs: Any | None = None) -> Any:
        """What the model gives in eval mode, without gradients.

        Without inputs those of the first batch; of an untouched model they are computed once
        for all checks, so they must not be written to.
        """
        self.model.eval()
        if inputs is None and self._versions() == self._begun:
            if self._first is None:
                self._first = self._call(self.inputs)
            return self._first
        return self._call(self.inputs if inputs is None else inputs)

    def _call(self, inputs: Any) -> Any:
        with torch.no_grad():
            return call(self.model, inputs)

    def gradients(self) -> float:
        """Loss of the first batch in training mode; leaves its gradients in the parameters.

        Of an untouched model they are computed once for all checks.
        """
        self.model.train()
        known, untouched = self._gradients, self._versions() == self._begun
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
        """Grows whenever a weight is written to."""
        return tuple(p._version for p in self.model.parameters())

    def go_on(self, share: float = 0.0) -> None:
        """Call now and then in what takes long, with the share that is done, 0 to 1.

        Raises:
            CheckStopped: somebody asked to stop.
        """
        self.progress(share)
        if self._halting():
            raise CheckStopped("Stopped on request.")


def _shape(part: Any) -> tuple[int, ...] | None:
    """Of one sample; None for what is no tensor."""
    return tuple(part.shape[1:]) if isinstance(part, torch.Tensor) else None
