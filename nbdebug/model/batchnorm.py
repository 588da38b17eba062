"""BatchNorm layers of a model: freeze or re-estimate their running statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from nbdebug.core.contexts import contextmanager
from nbdebug.errors import ModelError
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.module.names import every_module, hooked_layers
from nbdebug.model.state.model_state import undisturbed


class BatchNorms:
    """BatchNorm layers of a model.

    Attributes:
        layers: those that keep running statistics, by name, in the order of registration; shared
            ones once.
        measured: whether a forward pass has shown which layers see a single value per channel of
            each sample.
    """

    def __init__(self, model: nn.Module) -> None:
        self._all: dict[str, _BatchNorm] = {}
        self._single = set[str]()
        self._held: dict[_BatchNorm, tuple[bool, RemovableHandle]] = {}
        self.measured = False
        self.follow(model)

    def follow(self, model: nn.Module) -> None:
        """Take the layers that the model has now; new ones are not frozen."""
        before = self._all
        self._all = {n: m for n, m in every_module(model) if isinstance(m, _BatchNorm)}
        self.layers: dict[str, _BatchNorm] = {
            name: norm for name, norm in self._all.items() if norm.running_var is not None
        }
        self._hookable = {layer.module for layer in hooked_layers(model)}
        fresh = {name for name, norm in self._all.items() if before.get(name) is not norm}
        # Before the first forward pass BatchNorm1d is taken to follow a linear layer.
        single = {name for name in fresh if isinstance(self._all[name], nn.BatchNorm1d)}
        self._single = self._single - fresh & self._all.keys() | single
        self.measured = self.measured and not fresh if before else not self._all

    @property
    def frozen(self) -> bool:
        """True if all layers are frozen."""
        return bool(self.layers) and all(norm in self._held for norm in self.layers.values())

    @property
    def partly_frozen(self) -> bool:
        """True if a layer is frozen, and others came later."""
        return not self.frozen and any(norm in self._held for norm in self.layers.values())

    def measuring_once(self) -> AbstractContextManager[None]:
        """Context of a forward pass; the first one that succeeds is measured."""
        return nullcontext() if self.measured else self._measuring()

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """Measure which layers see a single value per channel of a sample."""
        seen: dict[str, int] = {}

        def see(name: str, inputs: tuple[Any, ...]) -> None:
            if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].ndim > 1:
                values = inputs[0].shape[2:].numel()
                seen[name] = min(values, seen.get(name, values))

        handles = [
            before_forward(norm, lambda _, inputs, name=name: see(name, inputs))
            for name, norm in self._all.items()
            if norm in self._hookable
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self._single = {n for n in self._all if seen.get(n, 1 if n in self._single else 2) == 1}
        self.measured = True

    def without_single_samples(self, modes: Literal["now", "thawed", "train"] = "now") -> str:
        """Name of a layer that cannot compute statistics of a batch of one sample, or "".

        Args:
            modes: of the layers: as they are now, as they are when they are not frozen, or all in
                training mode.
        """
        held = self._held.items()
        thawed = {norm: training for norm, (training, _) in held if modes == "thawed"}
        for name, norm in self._all.items():
            training = modes == "train" or thawed.get(norm, norm.training)
            if name in self._single and (training or norm.running_mean is None):
                return f"{name} ({type(norm).__name__})"
        return ""

    def freeze(self, frozen: bool) -> None:
        """Hold the layers in eval mode, or put them back into the mode they were in.

        Frozen layers normalise with their running statistics and leave them as they are,
        also after `model.train()`.
        """
        if frozen:
            self.restore(
                [(norm, norm.training) for norm in self.layers.values()], all_of_them=False
            )
            return
        held, self._held = self._held, {}
        for norm, (training, handle) in held.items():
            handle.remove()
            norm.training = training

    def capture(self) -> list[tuple[_BatchNorm, bool]]:
        """Frozen layers, each with the mode that it goes back to; for `restore`."""
        return [(norm, training) for norm, (training, _) in self._held.items()]

    def restore(self, held: Sequence[tuple[_BatchNorm, bool]], all_of_them: bool = True) -> None:
        """Freeze these layers; if they are all of them, others are not held any more."""
        wanted = {norm for norm, _ in held}
        for norm in [one for one in self._held if all_of_them and one not in wanted]:
            self._held.pop(norm)[1].remove()
        for norm, training in held:
            if norm not in self._held:
                self._held[norm] = training, before_forward(norm, _force_eval_mode, everywhere=True)
                norm.training = False


def reestimate(
    model: nn.Module, batches: Iterable[Any], forward: Callable[[Any], Any] | None = None
) -> int:
    """Replace running statistics by averages over the given batches, all with equal weight.

    The result, `num_batches_tracked` included, is that of `torch.optim.swa_utils.update_bn`.
    Every layer runs in the mode it is in (dropout drops while training);
    BatchNorm layers in eval mode keep their statistics. Everything else stays as it was:
    weights, gradients, other buffers, momenta, random numbers. Nothing is changed when a
    batch fails.

    Args:
        batches: inputs of `forward`, one after the other.
        forward: runs one batch through the model; None calls the model.

    Returns:
        Number of batches.

    Raises:
        ModelError: no BatchNorm layer is in training mode, or there is no batch.
    """
    norms = [norm for norm in BatchNorms(model).layers.values() if norm.training]
    if not norms:
        raise ModelError("No BatchNorm layer with running statistics is in training mode.")
    run, count = forward or model, 0
    with undisturbed(model), torch.no_grad(), _averaging(norms):
        for batch in batches:
            run(batch)
            count += 1
        estimated = [[buffer.clone() for buffer in _statistics(norm)] for norm in norms]
    if not count:
        raise ModelError("There is no batch to estimate BatchNorm statistics from.")
    for norm, values in zip(norms, estimated, strict=True):
        for buffer, value in zip(_statistics(norm), values, strict=True):
            buffer.copy_(value)
    return count


@contextmanager
def _averaging(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Reset running statistics, and average over all batches with equal weight inside."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _statistics(norm: _BatchNorm) -> list[torch.Tensor]:
    buffers = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    return [buffer for buffer in buffers if buffer is not None]


def _force_eval_mode(module: nn.Module, _inputs: Any) -> None:
    # At every call: model.train() may have been called since.
    module.training = False
