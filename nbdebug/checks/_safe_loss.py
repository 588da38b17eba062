"""A loss that is tried on the CPU before it runs on a GPU, which a wrong index would end."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from nbdebug.core.contexts import contextmanager
from nbdebug.model.module.forward import call, on_host, split
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.module.names import layers
from nbdebug.model.state.model_state import undisturbed
from nbdebug.model.training_state import TrainingState

LossFn = Callable[..., Any]
# Why torch cannot tell on the CPU: the loss holds tensors of the GPU, or knows no such dtype there.
UNTRIED = ("same device", "not implemented for")


class MissingRowError(IndexError):
    """An embedding is asked for a row that it has not."""


class SafeLoss:
    """The loss of outputs and targets, tried on the CPU first where training runs elsewhere.

    A label beyond the classes or a probability above 1 raises on the CPU. On a GPU it fails an
    assertion of the device, after which nothing runs there until the kernel is restarted.

    Args:
        device: of the training.
    """

    def __init__(self, loss_fn: LossFn, device: torch.device) -> None:
        self._loss_fn, self._device = loss_fn, device
        self._on_cpu: LossFn | None = None

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """The loss; for outputs and targets that the caller made up.

        Raises:
            RuntimeError: they are out of range, or that cannot be told on the CPU.
            Exception: whatever the loss raised.
        """
        if self._device.type != "cpu":
            self._try(outputs, targets)
        return self._loss_fn(outputs, targets)

    def refuse(self, outputs: Any, targets: Any) -> None:
        """Raise what the loss of a real batch raises on the CPU, if that can be told."""
        try:
            self._try(outputs, targets)
        except (RuntimeError, NotImplementedError) as error:
            if not any(words in str(error) for words in UNTRIED):
                raise

    def _try(self, outputs: Any, targets: Any) -> None:
        if self._on_cpu is None:
            own = self._loss_fn
            self._on_cpu = copy.deepcopy(own).cpu() if isinstance(own, nn.Module) else own
        with torch.enable_grad():
            self._on_cpu(on_host(outputs), on_host(targets))


def out_of_range(
    subject: TrainingState, loss: SafeLoss | None, batches: Sequence[Any]
) -> Exception | None:
    """Exception of model or loss for batches of which an index or a value is out of range.

    On a GPU model and loss must not run on them. None on the CPU, where they raise by themselves,
    and where nothing is found; the loss of a `step_fn` is not tried.
    """
    if subject.device.type == "cpu" or loss is None:
        return None
    for batch in batches:
        inputs, targets = split(batch)
        try:
            with undisturbed(subject.model), torch.no_grad(), _watching_rows(subject.model):
                outputs = call(subject.model, inputs)
        except MissingRowError as error:
            return error
        except Exception:
            # Raised again by the checks, where it belongs.
            return None
        try:
            loss.refuse(outputs, targets)
        except Exception as error:
            return error
    return None


@contextmanager
def _watching_rows(model: nn.Module) -> Iterator[None]:
    """Raise MissingRowError before an embedding is asked for a row that it has not."""

    def see(name: str, module: Any, inputs: tuple[Any, ...]) -> None:
        rows = inputs[0] if inputs else None
        if isinstance(rows, torch.Tensor) and rows.numel():
            low, high = (int(end) for end in rows.aminmax())
            if low < 0 or high >= module.num_embeddings:
                raise MissingRowError(
                    f"{name} has {module.num_embeddings} rows, and is asked for those from {low} "
                    f"to {high}"
                )

    handles = [
        before_forward(
            layer.module, lambda module, inputs, name=layer.name: see(name, module, inputs)
        )
        for layer in layers(model)
        if isinstance(layer.module, nn.Embedding | nn.EmbeddingBag)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
