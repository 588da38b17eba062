"""Positions that the loss counts, told by its gradient; also through a step_fn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from nbdebug.examples.setups.base import X, mlp, y
from tests.checks.result_of import result_of

MASK = 9
Step = Callable[[nn.Module, Any], torch.Tensor]


class Tagger(nn.Module):
    """A score of each class for each token, from the token and its neighbours."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.near = nn.Embedding(10, 8), nn.Conv1d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.near(self.embed(tokens).transpose(1, 2)).relu()
        return self.head(hidden.transpose(1, 2))  # type: ignore[no-any-return]


def ce(outputs: torch.Tensor, targets: torch.Tensor, **more: Any) -> torch.Tensor:
    return functional.cross_entropy(outputs.transpose(1, 2), targets, **more)


def words(padded: bool = False) -> torch.Tensor:
    """Tokens [N, L] from 1 to 8; filled up with 0 if `padded`."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 9, (80, 10), generator=generator)
    if padded:
        lengths = torch.randint(4, 10, (80, 1), generator=generator)
        tokens[torch.arange(10) >= lengths] = 0
    return tokens


def masked(loss: Callable[..., torch.Tensor]) -> Step:
    """A step of a masked language model; `loss` gets model, inputs, tokens and the mask."""

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        (tokens,) = batch
        mask = torch.rand(tokens.shape) < 0.25
        return loss(model, tokens.masked_fill(mask, MASK), tokens, mask)

    return step


SICK: dict[str, tuple[Step, str]] = {
    "all words are counted": (masked(lambda m, i, t, k: ce(m(i), t)), "are masked"),
    "the mask is turned round": (
        masked(lambda m, i, t, k: ce(m(i), t.masked_fill(k, -100))), "none of them is masked"
    ),
    "the other words are chosen": (
        masked(lambda m, i, t, k: functional.cross_entropy(m(i)[~k], t[~k])), "none of them"
    ),
    "weights are turned round": (
        masked(lambda m, i, t, k: (ce(m(i), t, reduction="none") * ~k).mean()), "none of them"
    ),
    "the targets were masked too": (
        masked(lambda m, i, t, k: ce(m(i), i.masked_fill(~k, -100))), "the token 9"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SICK)
def test_a_masked_language_model_is_not_asked_for_what_it_sees(name: str) -> None:
    step, said = SICK[name]
    data = TensorDataset(words())
    found = result_of("counted_targets", Tagger(), data, step_fn=step, batch_size=40)
    assert found.status == "fail"
    assert said in found.seen
    assert "masked" in found.remedy


def bert(model: nn.Module, batch: Any) -> torch.Tensor:
    (tokens,) = batch
    chosen, kind = torch.rand(tokens.shape) < 0.25, torch.rand(tokens.shape)
    other = torch.where(kind < 0.1, torch.randint(1, 9, tokens.shape), tokens)
    inputs = torch.where(chosen, torch.where(kind < 0.8, MASK, other), tokens)
    return ce(model(inputs), tokens.masked_fill(~chosen, -100))


@pytest.mark.parametrize(
    "step",
    [masked(lambda m, i, t, k: ce(m(i), t.masked_fill(~k, -100))), bert],
    ids=["hidden words", "some words are exchanged or stay"],
)
def test_hidden_words_are_right(step: Step) -> None:
    data = TensorDataset(words())
    found = result_of("counted_targets", Tagger(), data, step_fn=step, batch_size=40)
    assert found.status == "pass", found.seen


def only_padding(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (ce(outputs, targets, reduction="none") * (targets == 0)).mean()


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (ce, "warning"),
        (only_padding, "fail"),
        (lambda o, t: ce(o, t, ignore_index=0), "pass"),
        (lambda o, t: ce(o, t.masked_fill(t == 0, -100)), "pass"),
    ],
    ids=["padding is counted", "only padding", "ignore_index", "targets of -100"],
)
def test_padding_is_not_counted(loss: Any, status: str) -> None:
    tokens = words(padded=True)
    data = (tokens, (tokens % 5 + 1) * (tokens > 0))
    found = result_of("counted_targets", Tagger(6), data, loss, batch_size=40)
    assert found.status == status, found.seen
    if status != "pass":
        assert "padding (input 0, target 0)" in found.seen


WEIGHTS = torch.tensor([1.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (nn.CrossEntropyLoss(ignore_index=1), "fail"),
        (nn.CrossEntropyLoss(weight=WEIGHTS), "fail"),
        (nn.CrossEntropyLoss(ignore_index=-1), "pass"),
        (nn.CrossEntropyLoss(weight=WEIGHTS + 0.5), "pass"),
    ],
    ids=["ignore_index", "a weight of 0", "an index of no class", "weights above 0"],
)
def test_no_class_is_ignored(loss: nn.Module, status: str) -> None:
    found = result_of("counted_targets", mlp(), (X, y), loss, batch_size=64)
    assert found.status == status, found.seen
    assert ("class 1" in found.seen) is (status == "fail")


def test_half_of_the_samples_may_have_no_label() -> None:
    labels = y.clone()
    labels[::2] = -1
    loss = nn.CrossEntropyLoss(ignore_index=-1)
    assert result_of("counted_targets", mlp(), (X, labels), loss, batch_size=64).status == "pass"


def test_what_is_predicted_without_doubt_is_not_ignored() -> None:
    model = mlp()
    model.get_parameter("4.weight").data.mul_(1e4)
    found = result_of("counted_targets", model, (X, y), nn.CrossEntropyLoss(), batch_size=64)
    assert found.status == "pass", found.seen


@pytest.mark.parametrize(("positions", "status"), [(12, "pass"), (120, "warning")])
def test_a_rare_word_may_be_missing_among_the_hidden_ones(positions: int, status: str) -> None:
    tokens = words()
    tokens[tokens == 8] = 7
    tokens.view(-1)[:: tokens.numel() // positions] = 8

    def step(model: nn.Module, batch: Any) -> torch.Tensor:
        mask = (torch.rand(batch[0].shape) < 0.25) & (batch[0] != 8)
        targets = batch[0].masked_fill(~mask, -100)
        return ce(model(batch[0].masked_fill(mask, MASK)), targets)

    data = TensorDataset(tokens)
    found = result_of("counted_targets", Tagger(), data, step_fn=step, batch_size=80)
    assert found.status == status


def test_numbers_have_no_class() -> None:
    found = result_of("counted_targets", mlp(out=1), (X, X[:, :1]), nn.MSELoss(), batch_size=64)
    assert found.status == "not_applicable"
