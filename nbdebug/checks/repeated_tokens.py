"""Sequences that consist of one token."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from nbdebug.checks._by_layer import ByLayer, evaluate_in
from nbdebug.checks._context import CheckContext
from nbdebug.checks._padding import padding_of
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome


class RepeatedTokens(Check):
    """Checks that the tokens of sequences are not nearly all the same one.

    A vocabulary that was built from other texts, or in another case, knows almost none of the
    words: each becomes the same index, that of an unknown word, and nothing is left to learn
    from. Padding does not count.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "repeated_tokens"
    step = 4
    order = 16
    title = "Tokens differ"
    source = "nbdebug: one token is over 80 % of those that are no padding"
    explains = ("overfit", "related_targets", "ignored_inputs", "signal", "baselines")

    MAX_SHARE = 0.8
    MIN_VOCABULARY, MIN_TOKENS, MIN_LENGTH = 20, 100, 4

    def examine(self, context: CheckContext) -> Outcome:
        watch = _Watch(context.model)
        evaluate_in(watch, context)
        counted = [found for one in watch.found if (found := self._most_frequent(*one))]
        if not counted:
            return Outcome("not_applicable", "no embedding reads sequences of tokens.")
        share, token, layer = max(counted)
        expected = f"at most {self.MAX_SHARE:.0%} of the tokens"
        seen = f"index {token} is {share:.0%} of what {layer or 'the model'} reads, without padding"
        if share <= self.MAX_SHARE:
            return Outcome("pass", seen, expected)
        return Outcome(
            "warning", seen, expected, f"Look up index {token} in the vocabulary. If it stands for "
            "unknown words, build the vocabulary from the training texts, after the same splitting "
            "and lower-casing.",
        )  # fmt: skip

    def _most_frequent(
        self, layer: str, indices: torch.Tensor, padding: int | None
    ) -> tuple[float, int, str] | None:
        """Share and index of the most frequent token of sequences [N, L], with the layer."""
        found = padding_of(indices)
        filled = indices == (padding if found is None else found.value)
        words = indices[~filled] if found is not None or padding is not None else indices.flatten()
        if len(words) < self.MIN_TOKENS:
            return None
        tokens, counts = words.unique(return_counts=True)
        return float(counts.max()) / len(words), int(tokens[counts.argmax()]), layer


class _Watch(ByLayer):
    """Notes the sequences [N, L] that are looked up, with the layer and the index of padding."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model)
        self.found: list[tuple[str, torch.Tensor, int | None]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is functional.embedding:
            self._note(*args, **kwargs)
        return function(*args, **kwargs)

    def _note(
        self, input: Any, weight: Any, padding_idx: int | None = None, *_: Any, **__: Any
    ) -> None:
        large = len(weight) >= RepeatedTokens.MIN_VOCABULARY
        if large and input.ndim == 2 and input.shape[1] >= RepeatedTokens.MIN_LENGTH:
            self.found.append((self.layer, input.detach(), padding_idx))
