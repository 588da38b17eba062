"""Advantages of a policy gradient that pass a gradient back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbdebug.checks._context import CheckContext
from nbdebug.checks._graph_walk import SHAPES, Producer, behind, operands
from nbdebug.checks._loss_nodes import nodes_of_batch
from nbdebug.checks.base import Check
from nbdebug.core.results.checks.check_result import Outcome
from nbdebug.model.origin.graph import name_of

# Element by element, and averages that normalise.
ARITHMETIC = SHAPES | {
    "Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Exp", "Clamp", "ClampMin", "ClampMax", "Minimum",
    "Mean", "Std", "Var", "Sum", "Pow", "Reciprocal", "Stack", "Cat",
}  # fmt: skip
CHOOSING = frozenset({"Gather", "Index"})
NORMALISING = frozenset({"LogSoftmax", "Logsumexp", "Softmax"})
LIKELIHOODS = frozenset({"NllLoss", "NllLoss2D", "BinaryCrossEntropyWithLogits"})
OF_POLICY = ARITHMETIC | CHOOSING | NORMALISING | LIKELIHOODS | {"Log", "Select", "Slice"}
# A value is the output of a layer as it is; a weight that a sigmoid gives is none.
VALUES = frozenset({
    "Addmm", "Mm", "Bmm", "Select", "Slice", "Split", "SplitWithSizes", "Unbind", "Index", "Gather",
})  # fmt: skip
ERRORS = frozenset({"MseLoss", "SmoothL1Loss", "HuberLoss", "L1Loss", "Pow", "Abs"})
EXPECTED = "an advantage without a gradient beside the log-probability"


class AttachedAdvantage(Check):
    """Checks that the advantage of a policy gradient is a constant to the optimizer.

    In -(log_prob * advantage).mean() the advantage weighs the actions. If it is returns minus the
    output of the value head, with its graph, the policy loss trains the value head too: it makes
    values larger where actions were likely, against its own error. Judged are losses in which the
    log-probability of chosen actions meets a difference with another output, which has an error of
    its own.

    False alarms: 0 fails and 0 warnings on 288 healthy configurations.
    """

    name = "attached_advantage"
    step = 2
    order = 26
    title = "Advantages are constants"
    source = "Mnih et al. (2016), A3C; Schulman et al. (2016), GAE"
    explains = ("overfit",)

    def examine(self, context: CheckContext) -> Outcome:
        return self.examine_graph(nodes_of_batch(context))

    def examine_graph(self, nodes: Sequence[tuple[str, Any]]) -> Outcome:
        products = [node for name, node in nodes if name == "Mul" and len(operands(node)) == 2]
        for node in products:
            one, other = operands(node)
            if _is_attached(one, other, nodes) or _is_attached(other, one, nodes):
                return Outcome(
                    "fail", "the log-probability of actions is multiplied by an advantage that "
                    "passes a gradient to the value: the loss of the policy trains it, too",
                    EXPECTED,
                    "Detach it where it weighs the policy: -(log_prob * advantage.detach()).mean()"
                    "; the error of the value keeps its gradient.",
                )  # fmt: skip
        if not products:
            return Outcome("not_applicable", "the loss multiplies no two outputs.")
        return Outcome("pass", "no log-probability meets a value with a gradient", EXPECTED)


def _is_attached(policy: Producer, value: Producer, nodes: Sequence[tuple[str, Any]]) -> bool:
    """True for a log-probability of actions and a difference with an output that is learnt."""
    actor = behind(policy, OF_POLICY)
    if not is_log_probability(actor.names):
        return False
    critic = behind(value, ARITHMETIC)
    learnt = critic.producers
    if not {"Sub", "Rsub"} & critic.names or learnt & (actor.producers | actor.passed):
        return False
    if not all(name_of(node) in VALUES for node, _ in learnt):
        return False
    errors = (behind((node, 0), ARITHMETIC | ERRORS) for name, node in nodes if name in ERRORS)
    return any(one.producers and one.producers <= learnt for one in errors)


def is_log_probability(names: set[str]) -> bool:
    """True if operations of these names make the log-probability of chosen actions."""
    if names & LIKELIHOODS:
        return True
    # Of a choice among several, or of a normal distribution: a square, and the log of its width.
    return bool(names & CHOOSING and names & NORMALISING) or {"Pow", "Log"} <= names
