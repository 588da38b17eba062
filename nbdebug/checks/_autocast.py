"""Operations of one step with autocast as it is, and with every operation in full precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._context import CheckContext
from nbdebug.checks._operations import SILENT, bare_name
from nbdebug.checks._places import DIFFERENCES
from nbdebug.model.module.forward import tensors_of, with_leaves
from nbdebug.model.origin.source_line import user_line
from nbdebug.model.state.model_state import undisturbed

HALF = (torch.bfloat16, torch.float16)
# Draws depend on the dtype of what they are like.
DRAWS = frozenset((
    "rand_like", "randn_like", "bernoulli", "normal", "uniform", "exponential", "multinomial",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout",
    "feature_alpha_dropout", "gumbel_softmax", "rrelu", "log_normal", "cauchy", "poisson",
))  # fmt: skip
CASTS = frozenset(("to", "bfloat16", "half", "type", "type_as"))
RECURRENT = frozenset(("lstm", "gru", "rnn_tanh", "rnn_relu"))
MAX_NUMBERS = 16384


@dataclass(frozen=True)
class Seen:
    """A tensor that an operation made.

    Attributes:
        name: of the operation; line: of the user's code.
        numbers: some of them, on a grid; dtype: of the tensor.
        given: places in the list of the tensors that it was made of.
    """

    name: str
    line: str
    numbers: torch.Tensor
    dtype: torch.dtype
    given: tuple[int, ...]


class _Watch(TorchFunctionMode):
    """Writes down the real tensors of a step in the order in which they are made.

    Args:
        device: kind of device that autocast is for; full: compute everything in full precision.

    Attributes:
        cast: True if autocast was on in an operation.
    """

    def __init__(self, device: str, full: bool) -> None:
        super().__init__()
        self._device, self._full, self.cast = device, full, False
        self.seen: list[Seen] = []
        self._places = WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, bare_name(function)
        if getattr(function, "__name__", "") in SILENT:
            return function(*args, **kwargs)
        given = [self._places.get(one) for one in tensors_of([args, kwargs])]
        cast = torch.is_autocast_enabled(self._device)
        self.cast = self.cast or cast
        with suppress(Exception):
            args, kwargs = _without_dropout(name, args, kwargs)
        if self._full and cast:
            with torch.autocast(self._device, enabled=False):
                result = _called(function, name, *_full(args, kwargs))
            if name in CASTS and result.dtype in HALF and args[0].dtype == torch.float32:
                result = args[0].to(result.device)
        else:
            result = _called(function, name, args, kwargs)
        with suppress(Exception):
            changed = args[0] if name == "setitem" else result
            if name in DIFFERENCES and args[0].shape == args[1].shape:
                # The numbers that such a loss compares.
                changed = args[0].float() - args[1]
            self._note(name, changed, tuple(place for place in given if place is not None))
        return result

    def _note(self, name: str, result: Any, given: tuple[int, ...]) -> None:
        for one in tensors_of(result):
            if one.is_floating_point() and one.layout is torch.strided and "empty" not in name:
                self._places[one] = len(self.seen)
                line = "" if self._full else user_line()
                self.seen.append(Seen(name, line, _some(one), one.dtype, given))


def watched_precisions(context: CheckContext) -> list[Sequence[Seen]] | None:
    """Tensors of a step as it is, of the same again, and in full precision; None without autocast.

    Each evaluation begins with the same random numbers and buffers.
    """
    runs: list[Sequence[Seen]] = []
    subject = context.subject
    # What a loop moves beside its model, such as a hidden state, goes back with the training.
    around = None if getattr(subject, "body", None) is None else subject.surroundings
    for full in (False, False, True):
        watch = _Watch(subject.device.type, full)
        with undisturbed(context.model, around):
            context.train()
            with torch.enable_grad(), watch:
                context.evaluate(context.batch)
        if not watch.cast:
            return None
        runs.append(watch.seen)
    return runs


def _called(function: Any, name: str, args: Any, kwargs: Any) -> Any:
    """Call a function; one that draws random numbers draws them in full precision."""
    halves = [one for one in tensors_of(args[:1]) if one.dtype in HALF]
    if name not in DRAWS or not halves:
        return function(*args, **kwargs)
    half = halves[0]
    drawn = function(half.float(), *args[1:], **kwargs)
    in_place = str(getattr(function, "__name__", "")).endswith("_") or kwargs.get("inplace")
    if in_place:
        return half.copy_(drawn)
    return drawn.to(half.dtype) if drawn.is_floating_point() else drawn


def _full(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Arguments of one precision: where the step has cast some, all are in full precision."""
    kinds = {one.dtype for one in tensors_of([args, kwargs])}
    if torch.float32 not in kinds or not kinds & set(HALF):
        return args, kwargs

    def widened(leaf: Any) -> Any:
        return leaf.float() if isinstance(leaf, torch.Tensor) and leaf.dtype in HALF else leaf

    return with_leaves(tuple(args), widened), with_leaves(kwargs, widened)


def _without_dropout(name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Arguments without the dropout inside of an operation."""
    if name == "multi_head_attention_forward":
        # The share follows embed_dim_to_check, num_heads, biases and the flags.
        return (*args[:10], 0.0, *args[11:]), kwargs
    if name == "scaled_dot_product_attention":
        if len(args) > 4:
            return (*args[:4], 0.0, *args[5:]), kwargs
        return args, {**kwargs, "dropout_p": 0.0}
    if name in RECURRENT:
        place = next(i for i, one in enumerate(args) if isinstance(one, float))
        return (*args[:place], 0.0, *args[place + 1 :]), kwargs
    return args, kwargs


def _some(tensor: torch.Tensor) -> torch.Tensor:
    """Some numbers of a tensor, on a grid of all its axes."""
    found = tensor.detach()
    while found.numel() > MAX_NUMBERS:
        longest = max(range(found.dim()), key=lambda dim: found.shape[dim])
        index = [slice(None)] * found.dim()
        index[longest] = slice(None, None, 2)
        found = found[tuple(index)]
    return found.to(torch.float32, copy=True)
