"""Terms of the loss: that each has a gradient, and that none drowns the data."""

from __future__ import annotations

import torch

from nbdebug.checks._context import CheckContext
from nbdebug.checks._loss_trace import COMPARED, LEARNT, Term, loss_trace
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome

OTHER_BATCHES = 4


class LossTerms(Check):
    """Checks that each term of the loss has a gradient, and that none outweighs the data.

    A term that depends on the model but has no gradient is a constant to the optimizer: it was
    detached, or built on torch.autograd.grad() without create_graph=True. Terms that are reduced
    in different ways (a sum beside a mean), or whose targets have different scales, let one term
    decide every update. A penalty that weighs little is usual; a term that compares outputs with
    data is not.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "loss_terms"
    step = 2
    order = 25
    title = "Terms of the loss"
    source = "PyTorch, torch.autograd.grad; Kendall et al. (2018), Multi-Task Learning"
    explains = ("overfit",)

    MIN_SHARE = 0.01

    def examine(self, context: CheckContext) -> Outcome:
        trace = loss_trace(context)
        if isinstance(trace, str):
            return Outcome("not_applicable", trace)
        terms = [term for term in trace.terms() if term.source]
        if len(terms) < 2:
            return Outcome("not_applicable", "the loss is not a sum of terms.")
        for number, term in enumerate(terms, 1):
            if term.edge is None and term.source & LEARNT and not _is_cancelled(term, terms):
                return self._constant(number, len(terms), term)
        shares, drowned = self._shares(context, terms)
        if not shares:
            return Outcome("not_applicable", "no term has a gradient.")
        if drowned:
            drowned &= self._elsewhere(context, terms)
        largest = max(range(len(terms)), key=lambda place: shares[place])
        parts = "; ".join(
            f"term {number} is {term.value:.3g} with {_percent(share)} of the gradient"
            for number, (term, share) in enumerate(zip(terms, shares, strict=True), 1)
        )
        expected = f"{self.MIN_SHARE:.0%} of the gradient for a term that reads the data"
        if not drowned:
            return Outcome("pass", parts, expected)
        lines = [terms[place].made.line for place in (largest, min(drowned))]
        where = "; ".join(line for line in dict.fromkeys(lines) if line)
        return Outcome(
            "warning", f"term {largest + 1} outweighs term {min(drowned) + 1}: {parts}"
            + (f" ({where})" if where else ""), f"at least {expected}",
            "Reduce all terms in the same way (mean or sum), standardise targets of different "
            "scales, or weigh the terms.",
        )  # fmt: skip

    def _shares(self, context: CheckContext, terms: list[Term]) -> tuple[list[float], set[int]]:
        """Shares of the gradient by term, and the places of those that are drowned."""
        bare = [_gradient_norm(context, term) for term in terms]
        norms = [abs(term.factor) * norm for term, norm in zip(terms, bare, strict=True)]
        total = sum(norms)
        if not total > 0:
            return [], set()
        drowned = {
            place
            for place, (term, norm) in enumerate(zip(terms, norms, strict=True))
            # A factor below 1 is the user's own weight.
            if term.source & COMPARED and max(bare[place], norm) < self.MIN_SHARE * total
        }
        return [norm / total for norm in norms], drowned

    def _elsewhere(self, context: CheckContext, terms: list[Term]) -> set[int]:
        """Places that are drowned in other steps too, with a weight that stays as it is.

        A weight may be drawn for each batch, or grow from 0; an advantage may be 0 in one of them.
        """
        drowned = set(range(len(terms)))
        others = [*context.batches[1:], context.batch]
        with context.in_turn():
            for batch in others[:OTHER_BATCHES]:
                trace = loss_trace(context, batch)
                there = [] if isinstance(trace, str) else [t for t in trace.terms() if t.source]
                if len(there) != len(terms):
                    return set()
                drowned &= self._shares(context, there)[1]
                both = enumerate(zip(terms, there, strict=True))
                drowned -= {place for place, (a, b) in both if a.factor != b.factor}
        return drowned

    def _constant(self, number: int, count: int, term: Term) -> Outcome:
        cut = term.cut
        seen = f"term {number} of {count} depends on the model, but has no gradient"
        if cut is not None and cut.name == "grad":
            return Outcome(
                "fail", f"{seen}: torch.autograd.grad was called without create_graph ({cut.line})",
                "a gradient for each term", "Call torch.autograd.grad(..., create_graph=True).",
            )  # fmt: skip
        where = f": {cut} cuts it off" if cut is not None else ""
        return Outcome(
            "warning", seen + where, "a gradient for each term",
            "Remove .detach(), .item() or torch.no_grad(), or leave the term out of the loss.",
        )  # fmt: skip


def _is_cancelled(term: Term, terms: list[Term]) -> bool:
    """True for the constant half of `value - value.detach()`, which keeps only a gradient."""
    return any(other.edge is not None and other.value == -term.value for other in terms)


def _gradient_norm(context: CheckContext, term: Term) -> float:
    """L2 norm of the gradient of a term, without its factor, for the parameters."""
    parameters = [p for p in context.model.parameters() if p.requires_grad]
    if term.edge is None or not parameters:
        return 0.0
    found = torch.autograd.grad([term.edge], parameters, retain_graph=True, allow_unused=True)
    norms = [gradient.to_dense().norm().float() for gradient in found if gradient is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _percent(share: float) -> str:
    return f"{share:.0%}" if 0.01 <= share <= 0.99 else f"{share:.2%}"
