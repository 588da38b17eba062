"""Placement of dropout on a straight path of layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from nbdebug.model.module.names import DROPOUTS

ORDERS = ("as_built", "norm_dropout", "dropout_norm", "activation_dropout", "dropout_last")
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = (*BATCH_NORMS, nn.LayerNorm, nn.GroupNorm)
ACTIVATIONS = frozenset(
    {
        nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
        nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU,
        nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink,
        nn.Threshold,
    }
)  # fmt: skip
CONVOLUTIONS = frozenset(
    {
        nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d,
        nn.ConvTranspose3d,
    }
)  # fmt: skip
POOLING = frozenset(
    {
        nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d,
        nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
        nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    }
)  # fmt: skip
RESHAPING = frozenset({nn.Linear, nn.Flatten})

Role = Literal["norm", "dropout", "activation", "identity", "layer"]


@dataclass(frozen=True, slots=True)
class Step:
    """One layer or function on a straight path.

    Attributes:
        name: path of the module, or name of the function.
        kind: class of the module; "" for a function.
        inplace: True if it overwrites its input.
        fresh: True if its output is a new tensor that its own backward does not need.
        channels: True if it keeps channels apart; of a dropout, if it drops whole channels.
        slot: path of a module that is called only here; "" for none.
        fixed: reason why a dropout cannot move; "" if it can.
    """

    name: str
    role: Role
    kind: str = ""
    inplace: bool = False
    fresh: bool = False
    channels: bool = False
    slot: str = ""
    fixed: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})" if self.kind else f"{self.name}()"


@dataclass(frozen=True, slots=True)
class Chain:
    """Steps on a straight path: each passes its one output only to the next one.

    Attributes:
        overwritten: True if the output of the last step is overwritten afterwards.
        exit: path of the module that takes that output, if a dropout can be put before it.
    """

    steps: tuple[Step, ...]
    overwritten: bool = False
    exit: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Positions of the dropouts of a chain in one of the orders.

    Attributes:
        gaps: by index of the dropout, the index of the last step before it that is no
            dropout; -1 at the beginning of the chain.
        possible: True if at least one dropout of the chain can be placed as ordered.
        refused: dropouts that stay as built, each with the reason.
    """

    gaps: dict[int, int]
    possible: bool = False
    refused: tuple[str, ...] = ()

    def sequence(self, chain: Chain) -> list[int]:
        """Indices of the steps in the order of execution."""
        order = [index for index, gap in self.gaps.items() if gap == -1]
        for index, step in enumerate(chain.steps):
            if step.role != "dropout":
                order += [index, *(moved for moved, gap in self.gaps.items() if gap == index)]
        return order

    def moves(self, chain: Chain, before: Placement) -> list[str]:
        """Moves relative to another placement, one phrase each."""
        sentences = []
        for index, gap in self.gaps.items():
            if gap != before.gaps[index]:
                follows = next(
                    (s for s in chain.steps[gap + 1 :] if s.role != "dropout"), chain.steps[gap]
                )
                first = follows.role == "norm" and (gap < 0 or chain.steps[gap].role != "norm")
                where = f"before {follows}" if first else f"after {chain.steps[gap]}"
                sentences.append(f"{chain.steps[index]} {where}")
        return sentences


def step_of(name: str, module: nn.Module) -> Step | None:
    """A module as a step of a chain; None if it ends the chain."""
    kind = type(module).__name__
    inplace = bool(getattr(module, "inplace", False))
    if isinstance(module, NORMS):
        return Step(name, "norm", kind, fresh=True, channels=True)
    if isinstance(module, DROPOUTS):
        fixed = "works in place; build it with inplace=False" if inplace else ""
        whole = not isinstance(module, nn.Dropout | nn.AlphaDropout)
        return Step(name, "dropout", kind, inplace, channels=whole, fixed=fixed)
    if type(module) is nn.Identity:
        return Step(name, "identity", kind, channels=True)
    if type(module) in ACTIVATIONS:
        return Step(name, "activation", kind, inplace, channels=True)
    if type(module) in CONVOLUTIONS:
        return Step(name, "layer", kind, fresh=True, channels=True)
    if type(module) in POOLING:
        return Step(name, "layer", kind, channels=True)
    if type(module) in RESHAPING:
        return Step(name, "layer", kind, fresh=type(module) is nn.Linear)
    return None


def placement(
    chain: Chain, order: str, can_stand: Callable[[int], bool] = lambda gap: True
) -> Placement:
    """Place the dropouts of a chain as an order demands; all other steps stay.

    norm_dropout is directly after the last norm, dropout_norm directly before the first one,
    activation_dropout after the activation that follows the last one; each refers to the norms
    and activations that no other layer separates from the dropout. dropout_last is directly
    after the last norm of the whole chain (Li et al. 2018, "Understanding the
    Disharmony between Dropout and Batch Normalization by Variance Shift").

    Args:
        can_stand: tells if a dropout can be put into a gap.
    """
    gaps = built = _gaps_as_built(chain)
    possible, refused = False, []
    for dropouts, target in _target_gaps(chain, order):
        trial = {**gaps, **dict.fromkeys(dropouts, target)}
        obstacle = _obstacle(chain, built, trial, dropouts)
        if not obstacle and trial != gaps and not can_stand(target):
            obstacle = "would be between two functions, without a layer that could carry it"
        if obstacle:
            refused.append(f"{chain.steps[dropouts[0]]} {obstacle}")
        else:
            gaps, possible = trial, True
    return Placement(gaps, possible, tuple(refused))


def possible_placements(
    chain: Chain, can_stand: Callable[[int], bool] = lambda gap: True
) -> dict[str, Placement]:
    """Possible placements by order, as_built first.

    Only as_built if nothing can move. dropout_last is included only if it differs from
    norm_dropout.
    """
    found = {order: placement(chain, order, can_stand) for order in ORDERS}
    if not any(one.gaps != found["as_built"].gaps for one in found.values()):
        return {"as_built": found["as_built"]}
    redundant = found["dropout_last"].gaps == found["norm_dropout"].gaps
    return {
        order: one
        for order, one in found.items()
        if order == "as_built" or (one.possible and not (order == "dropout_last" and redundant))
    }


def _gaps_as_built(chain: Chain) -> dict[int, int]:
    gaps, last = {}, -1
    for index, step in enumerate(chain.steps):
        if step.role == "dropout":
            gaps[index] = last
        else:
            last = index
    return gaps


def _target_gaps(chain: Chain, order: str) -> Iterator[tuple[list[int], int]]:
    """Groups of dropouts, each with the gap where an order puts it."""
    if order == "dropout_last":
        norms = _with_role(chain, range(len(chain.steps)), "norm")
        early = [index for index, gap in _gaps_as_built(chain).items() if norms and gap < norms[-1]]
        if early:
            yield early, norms[-1]
        return
    for run in _layer_free_runs(chain):
        norms = _with_role(chain, run, "norm")
        dropouts = _with_role(chain, run, "dropout")
        if not norms or not dropouts or order == "as_built":
            continue
        if order == "norm_dropout":
            yield dropouts, norms[-1]
        elif order == "dropout_norm":
            before = [i for i in range(norms[0]) if chain.steps[i].role != "dropout"]
            yield dropouts, before[-1] if before else -1
        else:
            behind = [i for i in _with_role(chain, run, "activation") if i > norms[-1]]
            if behind:
                yield dropouts, behind[0]


def _layer_free_runs(chain: Chain) -> list[list[int]]:
    """Runs of steps that are norms, dropouts and activations, as indices."""
    runs: list[list[int]] = [[]]
    for index, step in enumerate(chain.steps):
        if step.role == "layer":
            runs.append([])
        else:
            runs[-1].append(index)
    return runs


def _with_role(chain: Chain, indices: list[int] | range, role: Role) -> list[int]:
    return [index for index in indices if chain.steps[index].role == role]


def _obstacle(
    chain: Chain, built: dict[int, int], trial: dict[int, int], dropouts: list[int]
) -> str:
    """Reason why these dropouts cannot move, as the end of a sentence; "" if they can."""
    steps = chain.steps
    if trial == built:
        return ""
    for index in dropouts:
        if steps[index].fixed:
            return steps[index].fixed
        crossed = steps[index : trial[index] + 1]
        if steps[index].channels and not all(step.channels for step in crossed):
            return "drops whole channels, which the layers up to the last norm do not keep apart"
    if any(step.role == "layer" for step in steps[dropouts[0] : dropouts[-1]]):
        return "is not the only one: several dropouts would follow each other after the last norm"
    for index, step in enumerate(steps):
        # The output of the dropout was a new tensor; without it the next step would overwrite
        # the output of this step.
        shielded = index in built.values() and index not in trial.values()
        if shielded and not step.fresh and _overwritten(chain, index):
            return f"keeps an in-place operation from overwriting {step}; use inplace=False"
    if -1 in built.values() and -1 not in trial.values() and _overwritten(chain, -1):
        return "keeps an in-place activation from overwriting the input; use inplace=False"
    return ""


def _overwritten(chain: Chain, gap: int) -> bool:
    """True if the step after a gap overwrites its input."""
    follows = (step for step in chain.steps[gap + 1 :] if step.role != "dropout")
    step = next(follows, None)
    return chain.overwritten if step is None else step.inplace
