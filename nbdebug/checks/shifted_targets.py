"""Targets of a sequence that are moved by another number of places than one."""

from __future__ import annotations

from typing import NamedTuple

import torch

from nbdebug.checks._class_targets import ClassTargets, class_targets
from nbdebug.checks._context import CheckContext
from nbdebug.checks._model_calls import ModelCall, watched_step
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

MAX_SHIFT, MIN_LENGTH, MIN_PLACES = 8, 4, 32
NEXT = "the next token as the target of each place"


class _Shift(NamedTuple):
    """Places by which targets are ahead of the inputs; shares that agree, and that are next."""

    places: int
    share: float
    next: float


class ShiftedTargets(Check):
    """Checks that targets which are tokens of the inputs are the next ones.

    Data that is moved by one already and a loss that moves it once more give the token after the
    next one: the loss falls, and a model that is asked for the next token gives another. Moved the
    other way, the target is a token that the model has read. A model with several heads, one of
    which predicts the next token, is left alone.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "shifted_targets"
    step = 4
    order = 22
    title = "Targets are the next token"
    source = "Hugging Face, causal language modeling (the model shifts the labels itself)"

    MIN_EQUAL_SHARE, MAX_OTHER_SHARE = 0.95, 0.8

    def examine(self, context: CheckContext) -> Outcome:
        step = watched_step(context)
        if isinstance(step, str):
            return Outcome("not_applicable", step)
        known = [
            (shift, call, classes, tokens)
            for call in step.calls
            for classes in class_targets(call)
            for tokens in call.inputs
            if _are_tokens(tokens, classes) and (shift := self._shift(classes, tokens)) is not None
        ]
        if len({shift.places for shift, *_ in known}) > 1:
            # Labels that the model is given for its loss are no inputs.
            known = [one for one in known if _is_read(context, *one[1:])]
        found = [shift for shift, *_ in known]
        if not found:
            return Outcome("not_applicable", "no target is a token of the inputs, moved.")
        if any(shift.places in (0, 1) for shift in found):
            return Outcome("pass", "the targets are the inputs, moved by at most one place", NEXT)
        places, share, following = found[0]
        way = f"{places} places ahead of" if places > 0 else "one place behind"
        return Outcome(
            "warning", f"{share:.0%} of the targets are the token {way} their place in the inputs, "
            f"{following:.0%} the next one", NEXT, self._remedy(places),
        )  # fmt: skip

    def _remedy(self, places: int) -> str:
        if places < 0:
            return (
                "Move the targets the other way: inputs are tokens[:, :-1], targets are "
                "tokens[:, 1:], or torch.roll(tokens, -1, 1)."
            )
        return (
            f"Are the targets shifted {'twice' if places == 2 else 'too far'}? Shift them once: in "
            "the data, in the step, or in the model, which may do it itself. Ignore this if the "
            f"token {places} places on is what you want."
        )

    def _shift(self, found: ClassTargets, tokens: torch.Tensor) -> _Shift | None:
        """The smallest shift that all targets agree with, 0 and 1 before others; None without."""
        for axis in (1, 0):
            wanted, counted, given = (
                one.movedim(axis, -1) for one in (found.wanted, found.counted, tokens)
            )
            shares = {s: _share(wanted, counted, given, s) for s in range(-1, MAX_SHIFT + 1)}
            if max(shares[0], shares[1]) > self.MAX_OTHER_SHARE:
                return _Shift(0 if shares[0] > shares[1] else 1, max(shares[0], shares[1]), 1.0)
            if shares[-1] > self.MIN_EQUAL_SHARE and _begins_within(wanted, counted):
                return _Shift(-1, shares[-1], shares[1])
            for places in range(2, MAX_SHIFT + 1):
                if shares[places] > self.MIN_EQUAL_SHARE:
                    return _Shift(places, shares[places], shares[1])
        return None


def _are_tokens(tokens: torch.Tensor, found: ClassTargets) -> bool:
    """True for a sequence [N, L] of several words, with a place for each target."""
    whole = not (tokens.is_floating_point() or tokens.is_complex() or tokens.dtype is torch.bool)
    return whole and tokens.ndim == 2 and tokens.shape == found.wanted.shape


def _is_read(
    context: CheckContext, call: ModelCall, classes: ClassTargets, tokens: torch.Tensor
) -> bool:
    """True if the outputs depend on these tokens [N, L]."""
    both = (call.again(context, tokens, one)[classes.place] for one in (tokens, tokens.roll(1, 0)))
    one, other = both
    return not torch.equal(one, other)


def _share(wanted: torch.Tensor, counted: torch.Tensor, tokens: torch.Tensor, shift: int) -> float:
    """Share of counted targets [N, L] that are the token `shift` places on; 0 of too few.

    Tokens that stand at the place itself too tell nothing of a shift.
    """
    length = tokens.shape[-1]
    if length < max(MIN_LENGTH, 2 * abs(shift)):
        return 0.0
    here = slice(max(0, -shift), length - max(0, shift))
    there = slice(max(0, shift), length + min(0, shift))
    telling = counted[..., here]
    if shift:
        telling = telling & (tokens[..., here] != tokens[..., there])
    if int(telling.sum()) < MIN_PLACES:
        return 0.0
    equal = wanted[..., here].to(tokens) == tokens[..., there]
    return float(equal[telling].float().mean())


def _begins_within(wanted: torch.Tensor, counted: torch.Tensor) -> bool:
    """True if the first targets [N] are several tokens: a task of memory begins with blanks."""
    first = wanted[..., 0][counted[..., 0]]
    return len(first.unique()) > 2
