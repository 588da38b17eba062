"""Outputs are read as classes, yes or no, or values, and as NumPy reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nbdebug.model.predicting.forms import Form, recognise
from nbdebug.model.predicting.loss_calls import LossCalls
from nbdebug.model.predicting.reading import first_tensor, read, sample_targets

DRAWN = torch.Generator().manual_seed(0)
LOGITS = torch.randn(8, 3, generator=DRAWN)
LABELS = torch.arange(8) % 3
YES = torch.tensor([0.0, 1.0] * 4)
VALUES = torch.randn(8, generator=DRAWN)


def softmax(values: np.ndarray[Any, Any], axis: int = 1) -> np.ndarray[Any, Any]:
    shifted = np.exp(values - values.max(axis, keepdims=True))
    found: np.ndarray[Any, Any] = shifted / shifted.sum(axis, keepdims=True)
    return found


CASES: dict[str, tuple[torch.Tensor, torch.Tensor | None, str, str, str]] = {
    "cross entropy": (LOGITS, LABELS, "cross_entropy", "classes", "softmax"),
    "a loss of one's own": (LOGITS, LABELS, "", "classes", "softmax"),
    "one-hot inside of the loss": (LOGITS, LABELS, "mse_loss", "classes", "softmax"),
    "labels of int32": (LOGITS, LABELS.int(), "", "classes", "softmax"),
    "log probabilities": (LOGITS.log_softmax(1), LABELS, "nll_loss", "classes", "softmax"),
    "probabilities": (LOGITS.softmax(1), LABELS, "", "classes", ""),
    "softmax before cross entropy": (
        LOGITS.softmax(1), LABELS, "cross_entropy", "classes", "softmax",
    ),
    "soft labels": (LOGITS, LOGITS.softmax(1), "cross_entropy", "classes", "softmax"),
    "yes or no by logits": (VALUES, YES, "binary_cross_entropy_with_logits", "binary", "sigmoid"),
    "yes or no by probabilities": (
        VALUES.sigmoid(), YES, "binary_cross_entropy", "binary", "",
    ),
    "a focal loss": (VALUES[:, None], YES, "", "binary", "sigmoid"),
    "values": (VALUES[:, None], VALUES, "", "regression", ""),
    "values of 0 and 1": (VALUES, YES, "mse_loss", "regression", ""),
    "counts": (VALUES[:, None], LABELS, "poisson_nll_loss", "regression", ""),
    "several values": (LOGITS, LOGITS * 2, "", "regression", ""),
    "scores without targets": (LOGITS, None, "", "classes", "softmax"),
    "one value without targets": (VALUES[:, None], None, "", "regression", ""),
    "yes without targets": (
        VALUES, None, "binary_cross_entropy_with_logits", "binary", "sigmoid",
    ),
    "targets of another length": (LOGITS, LABELS[:5], "", "classes", "softmax"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_outputs_mean(case: str) -> None:
    outputs, targets, loss, kind, squash = CASES[case]
    found = recognise(outputs, targets, loss)
    assert isinstance(found, Form)
    assert (found.kind, found.squash) == (kind, squash)


@pytest.mark.parametrize(
    ("outputs", "targets", "why"),
    [
        (LABELS, LABELS, "int64"),
        (torch.zeros(8, 0), None, "hold no number"),
        (LOGITS, torch.randn(8, 7), "cannot be compared"),
        (torch.randn(8, 3, 4, 4), None, "nobody says"),
        (torch.randn(8, 3, dtype=torch.complex64), LABELS, "complex64"),
    ],
)
def test_what_cannot_be_told_is_said(outputs: torch.Tensor, targets: Any, why: str) -> None:
    found = recognise(outputs, targets, "")
    assert isinstance(found, str)
    assert why in found


def test_targets_of_another_length_are_left_out_with_a_word() -> None:
    found = recognise(LOGITS, LABELS[:5], "")
    assert isinstance(found, Form)
    assert not found.targets
    assert found.note == (
        "The targets hold 5 samples, the outputs 8: they are left out. "
        "The 3 outputs are taken for scores of classes."
    )


def test_classes_with_nan_ignored_targets_and_half_precision() -> None:
    logits = LOGITS.clone()
    logits[2, 1] = torch.nan
    labels = LABELS.clone()
    labels[4] = -100
    found = read(Form("classes", squash="softmax"), 7, logits.bfloat16(), labels)
    expected = softmax(logits.bfloat16().float().numpy())
    known = np.arange(8) != 2
    assert np.allclose(found.values[known], expected[known], atol=1e-6)
    assert found.values.dtype == np.float32
    assert found.predicted is not None
    assert found.predicted[2] == -1
    assert (found.predicted[known] == expected.argmax(1)[known]).all()
    assert found.of_target is not None
    assert np.isnan(found.of_target[[2, 4]]).all()
    assert np.isfinite(found.of_target[[0, 1, 3, 5, 6, 7]]).all()


@pytest.mark.parametrize("last", [False, True], ids=["axis 1", "last axis"])
def test_several_positions_are_means_and_counts(last: bool) -> None:
    scores = torch.randn(5, 4, 6, generator=DRAWN)
    labels = torch.randint(0, 4, (5, 6), generator=DRAWN)
    labels[0, :2] = -100
    outputs = scores.movedim(1, 2) if last else scores
    form = recognise(outputs, labels, "")
    assert isinstance(form, Form)
    found = read(form, 0, outputs, labels)
    shares = softmax(scores.numpy())
    guess = scores.numpy().argmax(1)
    counts, right = np.zeros((4, 4), int), np.zeros(5)
    chances = np.zeros(5)
    for i in range(5):
        known = [j for j in range(6) if labels[i, j] >= 0]
        for j in known:
            counts[labels[i, j], guess[i, j]] += 1
        right[i] = np.mean([guess[i, j] == int(labels[i, j]) for j in known])
        chances[i] = np.mean([shares[i, labels[i, j], j] for j in known])
    assert np.allclose(found.values, shares.mean(2), atol=1e-6)
    assert found.counts is not None
    assert found.right is not None
    assert found.of_target is not None
    assert (found.counts == counts).all()
    assert np.allclose(found.right, right)
    assert np.allclose(found.of_target, chances, atol=1e-6)
    assert sample_targets(form, labels, outputs.shape).shape == (5,)


def test_of_ten_thousand_classes_the_five_most_probable_are_kept() -> None:
    logits = torch.randn(6, 10_000, generator=DRAWN)
    labels = torch.randint(0, 10_000, (6,), generator=DRAWN)
    found = read(Form("classes", squash="softmax"), 0, logits, labels)
    shares = softmax(logits.double().numpy())
    order = np.argsort(-shares, 1)[:, :5]
    assert found.top is not None
    assert (found.top == order).all()
    assert np.allclose(found.values, np.take_along_axis(shares, order, 1), rtol=1e-4)
    assert np.allclose(found.of_target, shares[np.arange(6), labels], rtol=1e-4)
    assert found.size < 2000


def test_several_yes_or_no_are_counted_together() -> None:
    logits = torch.randn(6, 4, generator=DRAWN)
    labels = (torch.randn(6, 4, generator=DRAWN) > 0).float()
    form = recognise(logits, labels, "")
    assert isinstance(form, Form)
    found = read(form, 0, logits, labels)
    shares = 1 / (1 + np.exp(-logits.numpy()))
    wanted = labels.numpy() > 0.5
    assert np.allclose(found.values, shares, atol=1e-6)
    assert np.allclose(found.of_target, np.where(wanted, shares, 1 - shares).mean(1), atol=1e-6)
    assert np.allclose(found.right, ((shares > 0.5) == wanted).mean(1))
    expected = [
        [np.sum((shares > 0.5)[wanted == t] == g) for g in (False, True)] for t in (False, True)
    ]
    assert (found.counts == np.array(expected)).all()


def test_images_of_values_are_thinned_alike() -> None:
    outputs = torch.randn(3, 1, 64, 64, generator=DRAWN)
    form = Form("regression")
    found = read(form, 0, outputs, None)
    targets = sample_targets(form, outputs + 1, outputs.shape)
    assert found.values.shape == (3, 1024)
    assert np.allclose(targets.numpy() - found.values, 1.0, atol=1e-5)


@dataclass
class Answer:
    """What a model may give."""

    loss: torch.Tensor
    scores: torch.Tensor


@pytest.mark.parametrize(
    "outputs",
    [
        LOGITS, (torch.zeros(()), LOGITS), {"hidden": torch.zeros(2, 8), "logits": LOGITS},
        Answer(torch.zeros(()), LOGITS), [LABELS, [LOGITS, VALUES]], {"ids": LABELS, "s": LOGITS},
    ],
)  # fmt: skip
def test_the_first_tensor_with_samples_is_taken(outputs: Any) -> None:
    assert first_tensor(outputs, 8) is LOGITS


def test_no_tensor_has_samples() -> None:
    assert first_tensor({"a": torch.zeros(3), "b": "text"}, 8) is None


@pytest.mark.parametrize(
    ("loss", "given", "name"),
    [
        (nn.CrossEntropyLoss(), (LOGITS, LABELS), "cross_entropy"),
        (nn.BCEWithLogitsLoss(), (VALUES, YES), "binary_cross_entropy_with_logits"),
        (nn.SmoothL1Loss(), (VALUES, VALUES + 1), "smooth_l1_loss"),
        (lambda a, b: ((a - b) ** 2).mean(), (VALUES, VALUES), ""),
    ],
)
def test_the_loss_that_is_called_is_noted(loss: Any, given: Any, name: str) -> None:
    with LossCalls() as calls:
        loss(*given)
    assert calls.name == name
    assert calls.targets is None if not name else torch.equal(calls.targets, given[1])
