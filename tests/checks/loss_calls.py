"""Calls of torch's losses, each with inputs that it forbids and with those that it wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.examples.setups.base import X, y
from tests.problems import CLASSES

Loss = Callable[[Any, Any], torch.Tensor]
SHARES = torch.softmax(3 * X[:, :CLASSES], 1)
TWO = (y > 1).float()
SIGNS = 2 * TWO - 1
COUNTS = X[:, 0].exp().round()
NUMBER = X[:, :3].sum(1)
SEVERAL = (X[:, :CLASSES] > 0).float()


class Pair(NamedTuple):
    """A loss of a model and a batch with a fault, and without.

    Attributes:
        words: in what is said of the fault.
        targets: beside the inputs X; cured: other targets for the cured twin, None for the same.
    """

    words: str
    targets: torch.Tensor
    sick: Loss
    healthy: Loss
    cured: torch.Tensor | None = None
    out: int = CLASSES


def frames(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Scores [T, N, C] of 6 frames, a model applied to shifted inputs."""
    return torch.stack([m(x.roll(shift, 1)) for shift in range(6)])


def ctc(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    n = len(labels)
    return F.ctc_loss(scores, labels, torch.full((n,), 6), torch.full((n,), labels.shape[1]))


def embed(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return F.normalize(m(x), dim=1)


WORDS = torch.stack([1 + y % 3, 1 + (y + 1) % 3], 1)
PAIRS: dict[str, Pair] = {
    "kl_div of probabilities": Pair(
        "kl_div", SHARES,
        lambda m, b: F.kl_div(m(b[0]).softmax(1), b[1], reduction="batchmean"),
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"),
    ),
    "kl_div of raw outputs": Pair(
        "kl_div", SHARES,
        lambda m, b: F.kl_div(m(b[0]), b[1], reduction="batchmean"),
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"),
    ),
    "kl_div to logarithms": Pair(
        "log_target", SHARES.log(),
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"),
        lambda m, b: F.kl_div(
            m(b[0]).log_softmax(1), b[1], reduction="batchmean", log_target=True
        ),
    ),
    "kl_div to probabilities called logarithms": Pair(
        "log_target", SHARES,
        lambda m, b: nn.KLDivLoss(reduction="batchmean", log_target=True)(
            m(b[0]).log_softmax(1), b[1]
        ),
        lambda m, b: nn.KLDivLoss(reduction="batchmean")(m(b[0]).log_softmax(1), b[1]),
    ),
    "kl_div to several labels": Pair(
        "sum", SEVERAL,
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"),
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"),
        F.normalize(SEVERAL + 0.1, p=1, dim=1),
    ),
    "nll of raw outputs": Pair(
        "nll_loss", y,
        lambda m, b: F.nll_loss(m(b[0]), b[1]),
        lambda m, b: F.nll_loss(m(b[0]).log_softmax(1), b[1]),
    ),
    "nll of probabilities": Pair(
        "nll_loss", y,
        lambda m, b: nn.NLLLoss()(m(b[0]).softmax(1), b[1]),
        lambda m, b: nn.NLLLoss()(m(b[0]).softmax(1).log(), b[1]),
    ),
    "cosine embedding of 0 and 1": Pair(
        "cosine_embedding_loss", TWO,
        lambda m, b: F.cosine_embedding_loss(m(b[0]), m(b[0].roll(1, 1)), b[1]),
        lambda m, b: F.cosine_embedding_loss(m(b[0]), m(b[0].roll(1, 1)), 2 * b[1] - 1),
    ),
    "ranking of 0 and 1": Pair(
        "margin_ranking_loss", TWO,
        lambda m, b: F.margin_ranking_loss(m(b[0])[:, 0], m(b[0])[:, 1], b[1], margin=0.5),
        lambda m, b: F.margin_ranking_loss(m(b[0])[:, 0], m(b[0])[:, 1], 2 * b[1] - 1, margin=0.5),
    ),
    "hinge of 0 and 1": Pair(
        "hinge_embedding_loss", TWO,
        lambda m, b: F.hinge_embedding_loss((m(b[0]) - m(b[0].roll(1, 1))).norm(dim=1), b[1]),
        lambda m, b: F.hinge_embedding_loss(
            (m(b[0]) - m(b[0].roll(1, 1))).norm(dim=1), 2 * b[1] - 1
        ),
    ),
    "ctc of raw outputs": Pair(
        "ctc_loss", WORDS,
        lambda m, b: ctc(frames(m, b[0]), b[1]),
        lambda m, b: ctc(frames(m, b[0]).log_softmax(2), b[1]),
    ),
    "poisson of a rate": Pair(
        "poisson_nll_loss", COUNTS,
        lambda m, b: F.poisson_nll_loss(m(b[0])[:, 0].exp(), b[1]),
        lambda m, b: F.poisson_nll_loss(m(b[0])[:, 0].exp(), b[1], log_input=False),
        out=1,
    ),
    "gaussian with a cut variance": Pair(
        "gaussian_nll_loss", NUMBER,
        lambda m, b: F.gaussian_nll_loss(m(b[0])[:, 0], b[1], m(b[0])[:, 1].clamp(min=1e-6)),
        lambda m, b: F.gaussian_nll_loss(m(b[0])[:, 0], b[1], m(b[0])[:, 1].exp()),
        out=2,
    ),
    "binary cross-entropy of cut scores": Pair(
        "binary_cross_entropy", TWO,
        lambda m, b: F.binary_cross_entropy((3 * m(b[0])[:, 0]).clamp(0, 1), b[1]),
        lambda m, b: F.binary_cross_entropy((3 * m(b[0])[:, 0]).sigmoid(), b[1]),
        out=1,
    ),
    "logits of signs": Pair(
        "binary_cross_entropy_with_logits", SIGNS,
        lambda m, b: F.binary_cross_entropy_with_logits(m(b[0])[:, 0], b[1]),
        lambda m, b: F.binary_cross_entropy_with_logits(m(b[0])[:, 0], (b[1] + 1) / 2),
        out=1,
    ),
    "triplets whose positive is the anchor": Pair(
        "triplet_margin_loss", y,
        lambda m, b: F.triplet_margin_loss(
            embed(m, b[0]), embed(m, b[0]), embed(m, b[0].roll(1, 0))
        ),
        lambda m, b: F.triplet_margin_loss(
            embed(m, b[0]), embed(m, b[0] + 0.1 * b[0].roll(1, 1)), embed(m, b[0].roll(1, 0))
        ),
    ),
    "log-softmax over the samples": Pair(
        "sum", y,
        lambda m, b: F.nll_loss(m(b[0]).log_softmax(0), b[1]),
        lambda m, b: F.nll_loss(m(b[0]).log_softmax(1), b[1]),
    ),
    "cross-entropy of one class": Pair(
        "cross_entropy", torch.zeros_like(y),
        lambda m, b: F.cross_entropy(m(b[0]), b[1]),
        lambda m, b: F.binary_cross_entropy_with_logits(m(b[0])[:, 0], (b[0][:, 0] > 0).float()),
        out=1,
    ),
}  # fmt: skip

MORE: dict[str, Pair] = {
    "distillation from raw scores": Pair(
        "kl_div", 3 * X[:, :CLASSES],
        lambda m, b: 4 * F.kl_div(F.log_softmax(m(b[0]) / 2, 1), b[1] / 2, reduction="batchmean"),
        lambda m, b: 4 * F.kl_div(
            F.log_softmax(m(b[0]) / 2, 1), F.softmax(b[1] / 2, 1), reduction="batchmean"
        ),
    ),
    "divergence with its arguments swapped": Pair(
        "kl_div", SHARES,
        lambda m, b: F.kl_div(b[1], m(b[0]).log_softmax(1), reduction="batchmean"),
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"),
    ),
    "soft margin of 0 and 1": Pair(
        "soft_margin_loss", TWO,
        lambda m, b: nn.SoftMarginLoss()(m(b[0])[:, 0], b[1]),
        lambda m, b: nn.SoftMarginLoss()(m(b[0])[:, 0], 2 * b[1] - 1),
        out=1,
    ),
    "hinge of scores": Pair(
        "hinge_embedding_loss", SIGNS,
        lambda m, b: F.hinge_embedding_loss(m(b[0])[:, 0], b[1]),
        lambda m, b: F.hinge_embedding_loss(m(b[0])[:, 0].abs(), b[1]),
        out=1,
    ),
    "ctc of probabilities": Pair(
        "ctc_loss", WORDS,
        lambda m, b: ctc(frames(m, b[0]).softmax(2), b[1]),
        lambda m, b: ctc(frames(m, b[0]).softmax(2).log(), b[1]),
    ),
    "ctc that is to emit the blank": Pair(
        "blank", WORDS - 1,
        lambda m, b: ctc(frames(m, b[0]).log_softmax(2), b[1]),
        lambda m, b: ctc(frames(m, b[0]).log_softmax(2), b[1] + 1),
    ),
    "a rate by softplus as its logarithm": Pair(
        "poisson_nll_loss", COUNTS,
        lambda m, b: nn.PoissonNLLLoss()(F.softplus(m(b[0])[:, 0]), b[1]),
        lambda m, b: nn.PoissonNLLLoss(log_input=False)(F.softplus(m(b[0])[:, 0]), b[1]),
        out=1,
    ),
    "raw outputs as a rate": Pair(
        "poisson_nll_loss", COUNTS,
        lambda m, b: nn.PoissonNLLLoss(log_input=False)(m(b[0])[:, 0], b[1]),
        lambda m, b: nn.PoissonNLLLoss()(m(b[0])[:, 0], b[1]),
        out=1,
    ),
    "masks of 0 and 255 without a reduction": Pair(
        "binary_cross_entropy_with_logits", 255 * SEVERAL,
        lambda m, b: F.binary_cross_entropy_with_logits(m(b[0]), b[1], reduction="none").mean(),
        lambda m, b: F.binary_cross_entropy_with_logits(
            m(b[0]), b[1] / 255, reduction="none"
        ).mean(),
    ),
    "sigmoid by hand before the logits": Pair(
        "logits", SEVERAL,
        lambda m, b: F.binary_cross_entropy_with_logits(m(b[0]).sigmoid().view(-1), b[1].view(-1)),
        lambda m, b: F.binary_cross_entropy_with_logits(m(b[0]).view(-1), b[1].view(-1)),
    ),
    "several labels for multi-label margins": Pair(
        "multilabel_margin_loss", SEVERAL.long(),
        lambda m, b: F.multilabel_margin_loss(m(b[0]), b[1]),
        lambda m, b: F.multilabel_soft_margin_loss(m(b[0]), b[1].float()),
    ),
    "a margin beyond unit vectors": Pair(
        "margin", y,
        lambda m, b: F.triplet_margin_loss(
            embed(m, b[0]), embed(m, 1.1 * b[0]), embed(m, b[0].roll(1, 0)), margin=5.0
        ),
        lambda m, b: F.triplet_margin_loss(
            embed(m, b[0]), embed(m, 1.1 * b[0]), embed(m, b[0].roll(1, 0)), margin=0.5
        ),
    ),
    "signs for several labels": Pair(
        "multilabel_soft_margin_loss", 2 * SEVERAL - 1,
        lambda m, b: F.multilabel_soft_margin_loss(m(b[0]), b[1]),
        lambda m, b: F.multilabel_soft_margin_loss(m(b[0]), (b[1] > 0).float()),
    ),
}  # fmt: skip


def _masked(m: Any, b: Any) -> torch.Tensor:
    """Labels of -1 are unknown and left out."""
    known = b[1] >= 0
    loss = F.binary_cross_entropy_with_logits(m(b[0]), b[1], reduction="none")
    return (loss * known).sum() / known.sum()


def _weighted(m: Any, b: Any) -> torch.Tensor:
    known = (b[1] >= 0).float()
    return F.binary_cross_entropy_with_logits(m(b[0]), b[1], weight=known)


def _reverse(m: Any, b: Any) -> torch.Tensor:
    return F.kl_div(b[1].log(), m(b[0]).softmax(1), reduction="batchmean")


def _logged(m: Any, b: Any) -> torch.Tensor:
    """A number for a log, of which the gradient is none."""
    with torch.no_grad():
        F.nll_loss(m(b[0]), b[1])
    F.nll_loss(m(b[0]), b[1]).item()
    return F.cross_entropy(m(b[0]), b[1])


def _bernoulli(m: Any, b: Any) -> torch.Tensor:
    p = m(b[0])
    one = F.kl_div(F.logsigmoid(p), b[1], reduction="sum")
    return (one + F.kl_div(F.logsigmoid(-p), 1 - b[1], reduction="sum")) / len(p)


def _ties(m: Any, b: Any) -> torch.Tensor:
    """Ties have no order."""
    one, other = m(b[0])[:, 0], m(b[0].roll(1, 0))[:, 0]
    return F.margin_ranking_loss(one, other, (b[1] - b[1].roll(1, 0)).sign().float(), margin=0.1)


UNKNOWN = SEVERAL - 2 * (X[:, 4:8] > 1).float() * SEVERAL
SMOOTH = 0.9 * SEVERAL + 0.05
LOOK_ALIKES: dict[str, tuple[torch.Tensor, Loss, int]] = {
    "unknown labels left out by a mask": (UNKNOWN, _masked, CLASSES),
    "unknown labels of weight 0": (UNKNOWN, _weighted, CLASSES),
    "reverse divergence": (SHARES, _reverse, CLASSES),
    "a likelihood that is only logged": (y, _logged, CLASSES),
    "divergence of several yes or no": (SMOOTH, _bernoulli, CLASSES),
    "ranks with ties": (y, _ties, 1),
    "smoothed labels": (
        SMOOTH, lambda m, b: F.binary_cross_entropy_with_logits(m(b[0]), b[1]), CLASSES
    ),
    "log-softmax twice": (y, lambda m, b: F.cross_entropy(m(b[0]).log_softmax(1), b[1]), CLASSES),
    "likelihood with a small number inside the logarithm": (
        y, lambda m, b: F.nll_loss((m(b[0]).softmax(1) + 1e-6).log(), b[1]), CLASSES
    ),
    "mixed labels": (
        SHARES, lambda m, b: F.cross_entropy(m(b[0]), 0.7 * b[1] + 0.3 * b[1].roll(1, 0)), CLASSES
    ),
    "rows without a target": (
        SHARES * (X[:, :1] > 0),
        lambda m, b: F.kl_div(m(b[0]).log_softmax(1), b[1], reduction="batchmean"), CLASSES,
    ),
    "gaussian of a fixed variance": (
        NUMBER, lambda m, b: F.gaussian_nll_loss(m(b[0])[:, 0], b[1], torch.ones(len(b[1]))), 1
    ),
    "focal loss": (
        y, lambda m, b: F.nll_loss(
            (1 - m(b[0]).softmax(1)) ** 2 * m(b[0]).log_softmax(1), b[1]
        ), CLASSES,
    ),
    "divergence of a whole matrix": (
        SHARES, lambda m, b: F.kl_div(
            m(b[0]).flatten().log_softmax(0), b[1].flatten() / len(b[1]), reduction="sum"
        ), CLASSES,
    ),
    "gate by a sigmoid": (
        TWO,
        lambda m, b: F.binary_cross_entropy_with_logits(
            4 * m(b[0])[:, 0] * m(b[0])[:, 1].sigmoid(), b[1]
        ), 2,
    ),
    "pairs by dropout": (
        y,
        lambda m, b: F.triplet_margin_loss(
            F.dropout(m(b[0])), F.dropout(m(b[0])), m(b[0].roll(1, 0))
        ), CLASSES,
    ),
    "padded words of ctc": (
        torch.stack([1 + y % 3, torch.zeros_like(y)], 1),
        lambda m, b: F.ctc_loss(
            frames(m, b[0]).log_softmax(2), b[1], torch.full((len(b[1]),), 6),
            torch.ones(len(b[1]), dtype=torch.long),
        ), CLASSES,
    ),
    "saturated probabilities": (
        TWO, lambda m, b: F.binary_cross_entropy((30 * m(b[0])[:, 0]).sigmoid(), b[1]), 1
    ),
}  # fmt: skip
