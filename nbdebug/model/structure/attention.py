"""Weights of attention, computed again from the arguments of a call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import nn

ATTENTION = "scaled_dot_product_attention"


def attention_weights(
    part: nn.Module | None,
    kind: str,
    args: tuple[Any, ...],
    named: dict[str, Any],
    most: int,
) -> torch.Tensor | None:
    """Weights [heads, T, S] of the first sample; None if this is no attention.

    Args:
        part: the module, None for a function; kind: its class or its name.
        args, named: of its call.
        most: number of queries T; of longer sequences so many at equal distances, since weights
            of all would take memory that grows with the square of the length.
    """
    with torch.no_grad():
        if isinstance(part, nn.MultiheadAttention):
            given = signature(part.forward).bind(*args, **named).arguments
            weights = part.forward(**_with_weights(given, part.batch_first, most))[1]
            return None if weights is None else weights[0] if weights.ndim == 4 else weights
        if kind == ATTENTION:
            return _dot_product(*args, **named, most=most)
    return None


def _with_weights(given: Mapping[str, Any], batch_first: bool, most: int) -> dict[str, Any]:
    """Arguments of nn.MultiheadAttention that give weights per head, for some of the queries."""
    wanted = {**given, "need_weights": True, "average_attn_weights": False}
    query, mask = given["query"], given.get("attn_mask")
    axis = 1 if batch_first and query.ndim == 3 else 0
    if query.shape[axis] <= most:
        return wanted
    rows = _rows(query.shape[axis], most, query.device)
    wanted |= {"query": query.index_select(axis, rows), "is_causal": False}
    if mask is not None:
        wanted["attn_mask"] = mask.index_select(mask.ndim - 2, rows)
    return wanted


def _rows(length: int, most: int, device: torch.device) -> torch.Tensor:
    """At most so many of the positions 0 to `length` - 1, at equal distances."""
    found = np.linspace(0, length - 1, min(length, most)).astype(int)
    return torch.as_tensor(found, device=device)


def _dot_product(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    most: int,
) -> torch.Tensor:
    """Weights as the documentation of torch's function defines them, without dropout."""
    query, key = query[0] if query.ndim == 4 else query, key[0] if key.ndim == 4 else key
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    rows = _rows(query.shape[-2], most, query.device)
    query = query.index_select(-2, rows)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query @ key.transpose(-2, -1)).float() * factor
    if is_causal:
        future = torch.arange(scores.shape[-1], device=scores.device) > rows[:, None]
        scores = scores.masked_fill(future, -math.inf)
    if attn_mask is not None:
        mask = attn_mask[0] if attn_mask.ndim == 4 else attn_mask
        mask = mask if mask.shape[-2] == 1 else mask.index_select(-2, rows)
        boolean = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -math.inf) if boolean else scores + mask
    weights = scores.softmax(-1)
    return weights if weights.ndim == 3 else weights[None]
