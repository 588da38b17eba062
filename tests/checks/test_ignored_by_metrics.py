"""Metrics that count targets which the loss leaves out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.core.results.checks.check_result import CheckResult
from nbdebug.model.metrics import Metrics
from tests.checks.result_of import result_of
from tests.checks.test_counted_targets import Tagger, words

Metric = Callable[[Any, Any], Any]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
TOKENS = words(padded=True)
# Two classes and padding: 0 where a token is padding.
TAGS = torch.where(TOKENS == 0, 0, TOKENS % 2 + 1)
HIDDEN = torch.where(TOKENS == 0, -100, TOKENS % 2)
PIXELS = torch.randn(24, 1, 6, 6, generator=torch.Generator().manual_seed(2))
VOID = torch.where(PIXELS[:, 0] > 1.2, 255, (PIXELS[:, 0] > 0).long())
VALUES = PIXELS[:, 0].masked_fill(PIXELS[:, 0] > 1.2, -1000.0)


class LastClass(nn.Module):
    """Classes on the second dimension, as torch's losses take them."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body = Tagger(classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.body(tokens).transpose(1, 2)  # type: ignore[no-any-return]


def convolution(channels: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, channels, 3, padding=1)
    )


def flat(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Of classes on the last dimension."""
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=0)


def by_mask(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    each = functional.cross_entropy(outputs, targets, reduction="none")
    return (each * (targets != 0)).sum() / (targets != 0).sum()


def known_values(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] - targets)[targets > -999].square().mean()


def share(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs.argmax(1) == targets).float().mean()


def whole(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float((outputs.argmax(1) == targets).all(1).float().mean())


def overlap(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Intersection over union of class 1."""
    one, other = outputs.argmax(1) == 1, targets == 1
    return float((one & other).sum() / (one | other).sum().clamp_min(1))


def distance(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs[:, 0] - targets).abs().mean()


def at_the_end(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs.argmax(-1) == targets).float().mean()


def kept(metric: Metric, left_out: int) -> Metric:
    """The share that is right where targets are none of the value that is left out."""

    def measure(outputs: torch.Tensor, targets: torch.Tensor) -> Any:
        at = targets != left_out
        return (outputs.argmax(1) == targets)[at].float().mean()

    return measure


PADDED = nn.CrossEntropyLoss(ignore_index=0)
SICK: dict[str, tuple[Callable[[], nn.Module], Any, Loss, Metric]] = {
    "padding": (LastClass, (TOKENS, TAGS), PADDED, share),
    "-100": (lambda: LastClass(2), (TOKENS, HIDDEN), nn.CrossEntropyLoss(), share),
    "a mask": (LastClass, (TOKENS, TAGS), by_mask, share),
    "a class of no weight": (
        LastClass, (TOKENS, TAGS), nn.CrossEntropyLoss(torch.tensor([0.0, 1.0, 1.0])), share
    ),
    "whole sentences": (LastClass, (TOKENS, TAGS), PADDED, whole),
    "classes at the end": (lambda: Tagger(3), (TOKENS, TAGS), flat, at_the_end),
    "pixels": (convolution, (PIXELS, VOID), nn.CrossEntropyLoss(ignore_index=255), overlap),
    "pixels, share": (convolution, (PIXELS, VOID), nn.CrossEntropyLoss(ignore_index=255), share),
    "numbers": (lambda: convolution(1), (PIXELS, VALUES), known_values, distance),
}  # fmt: skip
HEALTHY: dict[str, tuple[Callable[[], nn.Module], Any, Loss, Metric]] = {
    "padding left out": (LastClass, (TOKENS, TAGS), PADDED, kept(share, 0)),
    "-100 left out": (
        lambda: LastClass(2), (TOKENS, HIDDEN), nn.CrossEntropyLoss(), kept(share, -100)
    ),
    "all are counted": (LastClass, (TOKENS, TAGS), nn.CrossEntropyLoss(), share),
    "the loss itself": (LastClass, (TOKENS, TAGS), PADDED, PADDED),
    "whole sentences": (
        LastClass, (TOKENS, TAGS), PADDED,
        lambda o, t: ((o.argmax(1) == t) | (t == 0)).all(1).float().mean(),
    ),
    "a share of the data": (
        LastClass, (TOKENS, TAGS), PADDED, lambda o, t: (t != 0).float().mean()
    ),
    "a metric that raises": (LastClass, (TOKENS, TAGS), PADDED, lambda o, t: o.no_such_thing),
    "pixels": (
        convolution, (PIXELS, VOID), nn.CrossEntropyLoss(ignore_index=255), kept(share, 255)
    ),
    "a margin": (
        lambda: nn.Linear(6, 3), (PIXELS[:, 0, 0], TOKENS[:24, 0] % 3),
        lambda o, t: functional.multi_margin_loss(o, t, margin=0.01), share,
    ),
    "numbers": (
        lambda: convolution(1), (PIXELS, VALUES), known_values,
        lambda o, t: (o[:, 0] - t)[t > -999].abs().mean(),
    ),
}  # fmt: skip


def found(case: tuple[Callable[[], nn.Module], Any, Loss, Metric]) -> CheckResult:
    make, data, loss, metric = case
    return result_of("ignored_targets", make(), data, loss, metrics={"right": metric}, runs=None)


@pytest.mark.parametrize("name", SICK)
def test_a_metric_that_counts_what_the_loss_leaves_out_is_named(name: str) -> None:
    result = found(SICK[name])
    assert result.status == "warning", result.seen
    assert "right counts" in result.seen


@pytest.mark.parametrize("name", HEALTHY)
def test_a_metric_of_what_the_loss_counts_passes(name: str) -> None:
    result = found(HEALTHY[name])
    assert result.status in ("pass", "not_applicable"), result.seen


def test_without_metrics_there_is_nothing_to_judge() -> None:
    result = result_of("ignored_targets", LastClass(), (TOKENS, TAGS), PADDED, runs=None)
    assert result.status == "not_applicable"


def test_the_share_is_that_of_a_plain_count() -> None:
    result = found(SICK["padding"])
    share_of_padding = float((TOKENS == 0).float().mean())
    # Of the samples of one batch.
    said = float(result.seen.partition("%")[0].rpartition(" ")[2]) / 100
    assert abs(said - share_of_padding) < 0.1


def test_a_metric_with_a_state_is_left_as_it_was() -> None:
    class Counting:
        calls = 0

        def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return share(outputs, targets)

    metric = Counting()
    assert found((LastClass, (TOKENS, TAGS), PADDED, metric)).status == "warning"
    assert metric.calls == 0


def test_the_accuracy_that_comes_with_nbdebug_leaves_out_labels_below_0() -> None:
    outputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(4))
    targets = outputs.argmax(1).roll(3).masked_fill(torch.arange(40) % 4 == 0, -100)
    known = targets >= 0
    plain = (outputs.argmax(1) == targets)[known].float().mean()
    measured = Metrics(None).measure(outputs, targets)["accuracy"]
    assert float(measured) == pytest.approx(float(plain))
    assert Metrics(None).measure(outputs, targets.fill_(-100))["accuracy"] == 0
