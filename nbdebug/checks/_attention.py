"""Attention within one evaluation of the loss: which keys each layer can see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from nbdebug.checks._by_layer import ByLayer, evaluate_in
from nbdebug.checks._context import CheckContext
from nbdebug.model.module.forward import leaves
from nbdebug.model.precision import wide

# exp(-30) is 1e-13: nothing of a key that is masked by so much is left.
HIDING_SCORE = 30.0
HIDDEN_WEIGHT = 1e-12
MAX_ELEMENTS = 20_000_000
SAME_WEIGHTS = frozenset({"dropout", "to", "type_as", "contiguous", "float", "half", "bfloat16"})
SAME_SCORES = frozenset({"div", "true_divide", "mul", "masked_fill", "masked_fill_", "__rmul__"})
ADDITIONS = frozenset({"add", "add_", "__radd__", "__iadd__"})
PRODUCTS = frozenset({"matmul", "bmm", "__matmul__", "einsum", "baddbmm"})


@dataclass(frozen=True)
class Attention:
    """One call of an attention.

    Attributes:
        layer: name of the innermost module; function: name of that which applies the mask.
        visible: keys that a query sees, [G, Lq, Lk], where G counts samples, samples times heads,
            or is 1.
        adds_one: True if a mask of 0 and 1 is added to the scores.
        over_queries: True if the weights of each key sum to 1 over the queries.
    """

    layer: str
    visible: torch.Tensor
    function: str
    adds_one: bool = False
    over_queries: bool = False


def attention_calls(context: CheckContext) -> list[Attention]:
    """The attention calls of one evaluation of the loss of the first batch in training mode."""
    watch = _Watch(context.model)
    evaluate_in(watch, context)
    return watch.found


class _Watch(ByLayer):
    """Notes the masks of torch's attention, and each softmax whose result weighs a product."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.found: list[Attention] = []
        self._weights: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self._scores: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(function, "__name__", function))
        given = [one for one in leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        # In-place additions write over what they are given.
        adds_one = name in ADDITIONS and any(_is_zero_one(one) for one in given)
        result = function(*args, **kwargs)
        if function is functional.scaled_dot_product_attention:
            self._note_scaled(*args, **kwargs)
        elif function is functional.multi_head_attention_forward:
            self._note_multi_head(*args, **kwargs)
        elif isinstance(result, torch.Tensor) and result.ndim > 1 and given:
            self._follow(name, given[0], result, adds_one)
        return result

    def _follow(self, name: str, given: torch.Tensor, result: torch.Tensor, adds_one: bool) -> None:
        """Follow scores to the softmax, and its weights to the product with the values."""
        if name == "softmax" and result.numel() <= MAX_ELEMENTS:
            self._weights[result] = (result.detach(), given in self._scores)
        elif name in SAME_WEIGHTS and given in self._weights:
            self._weights[result] = self._weights[given]
        elif name in PRODUCTS and given in self._weights:
            self._note_weights(*self._weights.pop(given))
        elif adds_one or (name in SAME_SCORES and given in self._scores):
            self._scores[result] = True

    def _note(
        self, visible: torch.Tensor, function: str, adds_one: bool = False, over: bool = False
    ) -> None:
        visible = visible.reshape(-1, *visible.shape[-2:])
        self.found.append(Attention(self.layer, visible, function, adds_one, over))

    def _note_weights(self, weights: torch.Tensor, adds_one: bool) -> None:
        if weights.ndim < 3:
            return
        sums = [wide(weights).sum(dim) for dim in (-1, -2)]
        ones = [bool((total - 1).abs().max() < 1e-3) for total in sums]
        square = weights.shape[-1] == weights.shape[-2] > 2
        highest = weights.amax(-1, keepdim=True)
        visible = weights > HIDDEN_WEIGHT * highest
        self._note(visible, "softmax", adds_one, square and ones[1] and not ones[0])

    def _note_scaled(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **_: Any,
    ) -> None:
        lengths = query.shape[-2], key.shape[-2]
        visible = torch.ones(1, *lengths, dtype=torch.bool, device=query.device)
        if is_causal:
            visible = visible.tril()
        if attn_mask is None:
            return self._note(visible, "scaled_dot_product_attention")
        seen = attn_mask if attn_mask.dtype is torch.bool else _visible(attn_mask)
        if seen.ndim == 4:
            seen = seen.any(1)
        return self._note(visible & seen, "scaled_dot_product_attention", _is_zero_one(attn_mask))

    def _note_multi_head(
        self, query: torch.Tensor, key: torch.Tensor, *_: Any, **named: Any
    ) -> None:
        mask, padding = named.get("attn_mask"), named.get("key_padding_mask")
        if query.ndim != 3:
            return
        count, heads = query.shape[1], int(_[2]) if len(_) > 2 else 1
        visible = torch.ones(1, len(query), len(key), dtype=torch.bool, device=query.device)
        if mask is None and named.get("is_causal"):
            visible = visible.tril()
        adds_one = False
        for each, by_sample in ((mask, False), (padding, True)):
            if each is None:
                continue
            seen = ~each if each.dtype is torch.bool else _visible(each)
            adds_one = adds_one or _is_zero_one(each)
            if by_sample:
                seen = seen[:, None, :]
            elif seen.ndim == 3:
                seen = seen.reshape(count, heads, *seen.shape[1:]).any(1)
            visible = visible & seen
        self._note(visible, "MultiheadAttention", adds_one)


def _visible(mask: torch.Tensor) -> torch.Tensor:
    """Keys that an added mask of numbers leaves visible."""
    highest = mask.amax(-1, keepdim=True)
    return (mask >= highest - HIDING_SCORE) & ~torch.isneginf(mask)


def _is_zero_one(mask: torch.Tensor) -> bool:
    """True if a tensor of numbers without a graph holds 0 and 1, and nothing else."""
    if not mask.is_floating_point() or mask.requires_grad or mask.ndim < 2:
        return False
    if mask.shape[-1] < 3 or mask.numel() > MAX_ELEMENTS:
        return False
    one = mask == 1
    return bool(one.any()) and not bool(one.all()) and bool((one | (mask == 0)).all())


def seen_keys(attention: Attention, padding: torch.Tensor) -> torch.Tensor | None:
    """Keys [N, L] that some word of a sample sees, given its padding [N, L]; None if of others."""
    visible = attention.visible
    count, length = padding.shape
    if visible.shape[2] != length or (len(visible) != 1 and len(visible) % count):
        return None
    visible = visible.reshape(-1 if len(visible) == 1 else count, *_rest(visible, count))
    if visible.shape[-2] == length:
        # What positions of padding see has no effect on words.
        visible = visible & ~padding[:, None, :, None]
    return visible.flatten(1, -2).any(1).expand(count, length)


def _rest(visible: torch.Tensor, count: int) -> tuple[int, ...]:
    heads = 1 if len(visible) == 1 else len(visible) // count
    return heads, visible.shape[1], visible.shape[2]
