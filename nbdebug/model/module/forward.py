"""Batches, model outputs and losses in whatever structure the user has them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import lru_cache, partial
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.rnn import PackedSequence

from nbdebug.core.attributes import attribute
from nbdebug.errors import DataError, LossError
from nbdebug.model.module.unmoved import moved_by_itself

LossFn = Callable[[Any, Any], torch.Tensor]
StepFn = Callable[[nn.Module, Any], Any]


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a batch to `device`; tensors already there are not copied.

    Containers keep their types; an object with a method `to` is moved by it. Whatever has nothing
    to move stays the same object, so that code writes into the batch of the user.

    Raises:
        DataError: a tensor is neither on `device` nor on the CPU.
    """
    if isinstance(batch, torch.Tensor):
        if batch.device == device:
            return batch
        if batch.device.type != "cpu":
            raise DataError(
                f"The data is on {batch.device}, the model on {device}: "
                "put the data on the CPU or on the model's device."
            )
        return batch.to(device, non_blocking=True)
    if type(batch) is tuple and all(map(partial(_is_on, device), batch)):
        return batch
    if callable(attribute(batch, "to", None)) and not isinstance(batch, type):
        return moved_by_itself(batch, device)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        parts = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch) if f.init}
        moved = {name: to_device(part, device) for name, part in parts.items()}
        same = all(moved[name] is part for name, part in parts.items())
        return batch if same else dataclasses.replace(batch, **moved)
    if not isinstance(batch, tuple | list | Mapping):
        return batch
    given = list(batch.values() if isinstance(batch, Mapping) else batch)
    found = [to_device(part, device) for part in given]
    if all(map(operator.is_, found, given)):
        return batch
    waiting = iter(found)
    return _each_part(batch, lambda part: next(waiting))


def _is_on(device: torch.device, part: Any) -> bool:
    return isinstance(part, torch.Tensor) and part.device == device


def _each_part(value: Any, function: Callable[[Any], Any]) -> Any:
    """A container of the same type with `function` of its parts; other values as they are."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(function, value))
    if isinstance(value, tuple | list):
        return type(value)(map(function, value))
    if not isinstance(value, Mapping):
        return value
    parts = {key: function(part) for key, part in value.items()}
    if type(value) is dict:
        return parts
    if isinstance(value, MutableMapping):
        same = copy.copy(value)
        for key, part in parts.items():
            # Outputs of transformers refuse `update`.
            same[key] = part
        return same
    try:
        return type(value)(parts)  # type: ignore[call-arg]
    except TypeError:
        return parts


def on_host(value: Any) -> Any:
    """Detached copies in the host's memory, in the same containers; half precision as float32."""
    if not isinstance(value, torch.Tensor):
        return _each_part(value, on_host)
    found = value.detach().cpu()
    return found.float() if found.dtype in (torch.float16, torch.bfloat16) else found


def first_samples(batch: Any, count: int) -> Any:
    """The first samples of a batch: the first rows of every tensor."""
    return some_samples(batch, slice(count))


def some_samples(batch: Any, which: slice) -> Any:
    """Some samples of a batch: these rows of every tensor.

    Raises:
        DataError: a part of the batch cannot be cut.
    """
    if isinstance(batch, torch.Tensor):
        return batch[which] if batch.ndim else batch
    if isinstance(batch, PackedSequence):
        raise DataError("A PackedSequence in a batch cannot be cut into single samples.")
    return _each_part(batch, lambda part: some_samples(part, which))


def with_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same nested containers with changed leaves."""
    if isinstance(value, tuple | list | Mapping):
        return _each_part(value, partial(with_leaves, change=change))
    return change(value)


def detached(value: Any) -> Any:
    """The same nested containers with detached tensors."""
    return value.detach() if isinstance(value, torch.Tensor) else _each_part(value, detached)


def repeated(batch: Any, times: int) -> Any:
    """A batch with all its samples repeated `times` times."""
    if isinstance(batch, torch.Tensor):
        return torch.cat([batch] * times) if batch.ndim else batch
    if isinstance(batch, PackedSequence):
        raise DataError("A PackedSequence in a batch cannot be repeated.")
    return _each_part(batch, lambda part: repeated(part, times))


def leaves(value: Any) -> Iterator[Any]:
    """Leaves of nested containers in order, with the keys of mappings."""
    if isinstance(value, Mapping):
        for key in value:
            yield key
            yield from leaves(value[key])
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    """Tensors of nested containers and dataclasses, in order."""
    for leaf in leaves(value):
        if isinstance(leaf, torch.Tensor):
            yield leaf
        elif dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            yield from tensors_of([getattr(leaf, one.name) for one in dataclasses.fields(leaf)])


def split(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of a batch; the last part holds the targets.

    Raises:
        DataError: the batch has no parts.
    """
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]
    raise DataError(
        f"A batch is a {type(batch).__name__}: expected (inputs, targets). "
        "For anything else give step_fn(model, batch) -> loss."
    )


def call(model: nn.Module, inputs: Any) -> Any:
    """Call the model: a mapping is passed as keywords, a tuple as arguments.

    A forward that takes a single argument gets them whole.
    """
    args, named = arguments_of(model, inputs)
    return model(*args, **named)


def arguments_of(model: nn.Module, inputs: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Positional and named arguments of a model; a PackedSequence is one argument."""
    if isinstance(inputs, Mapping):
        only = _only_argument(model)
        return ((), inputs) if only is None or only in inputs else ((inputs,), {})
    if isinstance(inputs, tuple | list) and not isinstance(inputs, PackedSequence):
        whole = len(inputs) > 1 and _only_argument(model) is not None
        return ((inputs,), {}) if whole else (inputs, {})
    return (inputs,), {}


def _only_argument(model: nn.Module) -> str | None:
    """Name of the only argument that the forward of a model takes by place; None for others."""
    while True:
        # What compiles or spreads a model over devices takes anything.
        inner = model.__dict__.get("_modules", {}).get("_orig_mod")
        if isinstance(model, nn.DataParallel | DistributedDataParallel):
            inner = model.module
        if inner is None:
            break
        model = inner
    if isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward:
        first = next(iter(model), None)
        return None if first is None else _only_argument(first)
    forward = type(model).forward
    return _only_parameter(forward) if isinstance(forward, FunctionType) else None


@lru_cache(256)
def _only_parameter(forward: FunctionType) -> str | None:
    found = list(inspect.signature(forward).parameters.values())[1:]
    if any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in found):
        return None
    placed = [one for one in found if one.kind is not one.KEYWORD_ONLY]
    return placed[0].name if len(placed) == 1 else None


def checked(loss: Any, name: str) -> torch.Tensor:
    """The loss, checked to be a scalar tensor.

    Raises:
        LossError: the loss is not a scalar tensor.
    """
    if not isinstance(loss, torch.Tensor):
        raise LossError(f"{name} gave a {type(loss).__name__}: expected a scalar tensor.")
    if loss.numel() != 1:
        raise LossError(
            f"{name} gave a tensor of shape {tuple(loss.shape)}: expected one number. "
            "Reduce it, for example with .mean()."
        )
    return loss


class StepParts(NamedTuple):
    """Parts of what a `step_fn` returned; `at` is the index of the loss, None if it is the loss."""

    loss: Any
    outputs: Any
    targets: Any
    logs: dict[str, Any]
    at: int | str | None


def parts_of(found: Any) -> StepParts:
    """Loss, outputs, targets and named values of what a `step_fn` returned.

    It may be the loss, `(loss, {name: value})`, `(loss, outputs, targets)`, or a dict with "loss".
    """
    if isinstance(found, Mapping) and "loss" in found:
        logs = {name: value for name, value in found.items() if name != "loss"}
        return StepParts(found["loss"], None, None, detached(logs), "loss")
    if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping):
        return StepParts(found[0], None, None, detached(dict(found[1])), 0)
    if isinstance(found, tuple) and len(found) == 3:
        return StepParts(*found, {}, 0)
    return StepParts(found, None, None, {}, None)


def with_gradient(loss: torch.Tensor, name: str) -> torch.Tensor:
    """The loss, checked to depend on trainable parameters; LossError if it does not."""
    if not loss.requires_grad:
        raise LossError(
            f"{name} does not depend on any trainable parameter: is every layer frozen, or is "
            "there a .detach(), a .item(), torch.no_grad() or an argmax between the model and the "
            "loss?"
        )
    return loss
