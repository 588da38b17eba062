"""Weights of attention, computed again from the arguments of a call."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

ATTENTION = "scaled_dot_product_attention"


def attention_weights(
    part: nn.Module | None, kind: str, args: tuple[Any, ...], named: dict[str, Any]
) -> torch.Tensor | None:
    """Weights [heads, T, S] of the first sample; None if this is no attention.

    Args:
        part: the module, None for a function; kind: its class or its name.
        args, named: of its call.
    """
    with torch.no_grad():
        if isinstance(part, nn.MultiheadAttention):
            wanted = {**named, "need_weights": True, "average_attn_weights": False}
            weights = part.forward(*args[:4], **_unset(wanted, len(args)))[1]
            return None if weights is None else weights[0] if weights.ndim == 4 else weights
        if kind == ATTENTION:
            return _dot_product(*args, **named)
    return None


def _unset(wanted: dict[str, Any], given: int) -> dict[str, Any]:
    """Named arguments without those that came by position."""
    names = ("query", "key", "value", "key_padding_mask")[:given]
    return {name: value for name, value in wanted.items() if name not in names}


def _dot_product(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Weights as the documentation of torch's function defines them, without dropout."""
    query, key = query[0] if query.ndim == 4 else query, key[0] if key.ndim == 4 else key
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.transpose(-2, -1)).float() * factor
    if is_causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(future, -math.inf)
    if attn_mask is not None:
        mask = attn_mask[0] if attn_mask.ndim == 4 else attn_mask
        boolean = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -math.inf) if boolean else scores + mask
    weights = scores.softmax(-1)
    return weights if weights.ndim == 3 else weights[None]
