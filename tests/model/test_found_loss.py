"""A loss function is found in the graph of a loss, and gives the same number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from nbdebug.model.origin.found_loss import find_loss, find_own_loss
from nbdebug.model.origin.found_sum import find_sum

B, C, L = 8, 4, 5
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(B, 6, generator=GENERATOR)
CLASSES = torch.randint(0, C, (B,), generator=GENERATOR)
NUMBERS = torch.randn(B, 1, generator=GENERATOR)
BITS = (CLASSES > 1).float()
WORDS = torch.randint(0, C, (B, L), generator=GENERATOR)
Loss = Callable[[torch.Tensor], torch.Tensor]


class Tagger(nn.Module):
    """Logits [B, L, C] for each of L positions."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, L * C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.out(x)
        return found.view(-1, L, C)


def outputs(kind: str) -> torch.Tensor:
    torch.manual_seed(0)
    makes: dict[str, Callable[[], nn.Module]] = {
        "logits": lambda: nn.Linear(6, C),
        "number": lambda: nn.Linear(6, 1),
        "words": Tagger,
        "log-probabilities": lambda: nn.Sequential(nn.Linear(6, C), nn.LogSoftmax(1)),
        "probability": lambda: nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()),
    }
    found: torch.Tensor = makes[kind]()(X)
    return found


WEIGHT = torch.tensor([1.0, 2.0, 3.0, 4.0])
FOUND: dict[str, tuple[str, Loss, str, float]] = {
    "cross entropy": ("logits", lambda o: F.cross_entropy(o, CLASSES), "cross_entropy", 1),
    "with weights": (
        "logits",
        lambda o: F.cross_entropy(o, CLASSES, WEIGHT, ignore_index=2),
        "cross_entropy",
        1,
    ),
    "of four passes": ("logits", lambda o: F.cross_entropy(o, CLASSES) / 4, "cross_entropy", 0.25),
    "weighed": ("logits", lambda o: 3 * F.cross_entropy(o, CLASSES), "cross_entropy", 3),
    "reduced later": (
        "logits",
        lambda o: F.cross_entropy(o, CLASSES, reduction="none").mean(),
        "cross_entropy",
        1,
    ),
    "softmax apart": (
        "logits", lambda o: F.nll_loss(F.log_softmax(o, 1), CLASSES), "cross_entropy", 1
    ),
    "softmax inside": ("log-probabilities", lambda o: F.nll_loss(o, CLASSES), "nll_loss", 1),
    "words in a row": (
        "words", lambda o: F.cross_entropy(o.view(-1, C), WORDS.view(-1)), "cross_entropy", 1
    ),
    "next words": (
        "words",
        lambda o: F.cross_entropy(o[:, :-1].reshape(-1, C), WORDS[:, 1:].reshape(-1)),
        "cross_entropy",
        1,
    ),
    "words transposed": (
        "words", lambda o: F.cross_entropy(o.transpose(1, 2), WORDS), "cross_entropy", 1
    ),
    "words permuted": (
        "words", lambda o: F.cross_entropy(o.permute(0, 2, 1), WORDS), "cross_entropy", 1
    ),
    "the last word": (
        "words", lambda o: F.cross_entropy(o[:, -1], WORDS[:, -1]), "cross_entropy", 1
    ),
    "squares": ("number", lambda o: F.mse_loss(o, NUMBERS), "mse_loss", 1),
    "squares squeezed": (
        "number", lambda o: F.mse_loss(o.squeeze(), NUMBERS.squeeze(1)), "mse_loss", 1
    ),
    "squares by hand": ("number", lambda o: ((o - NUMBERS) ** 2).mean(), "mse_loss", 1),
    "squares the other way": ("number", lambda o: (NUMBERS - o).square().mean(), "mse_loss", 1),
    "a sum over samples": (
        "number", lambda o: ((NUMBERS[:, 0] - o.squeeze(1)) ** 2).sum() / B, "mse_loss", 1
    ),
    "absolute": ("number", lambda o: F.l1_loss(o, NUMBERS), "l1_loss", 1),
    "smooth": (
        "number",
        lambda o: F.smooth_l1_loss(o[:, 0], NUMBERS[:, 0], beta=0.3),
        "smooth_l1_loss",
        1,
    ),
    "huber": ("number", lambda o: F.huber_loss(o, NUMBERS, delta=0.3), "huber_loss", 1),
    "binary": (
        "number",
        lambda o: F.binary_cross_entropy_with_logits(
            o.squeeze(-1), BITS, pos_weight=torch.tensor(3.0)
        ),
        "binary_cross_entropy_with_logits",
        1,
    ),
    "binary of a probability": (
        "probability",
        lambda o: F.binary_cross_entropy(o.squeeze(-1), BITS),
        "binary_cross_entropy",
        1,
    ),
    "a sigmoid in the loss": (
        "number",
        lambda o: F.binary_cross_entropy(torch.sigmoid(o)[:, 0], BITS),
        "binary_cross_entropy",
        1,
    ),
    "half precision": (
        "logits", lambda o: F.cross_entropy(o.bfloat16().float(), CLASSES), "cross_entropy", 1
    ),
}  # fmt: skip
OTHER: dict[str, tuple[str, Loss]] = {
    "smoothed labels": ("logits", lambda o: F.cross_entropy(o, CLASSES, label_smoothing=0.1)),
    "two terms": ("logits", lambda o: F.cross_entropy(o, CLASSES) + 0.1 * o.pow(2).mean()),
    "a broadcast": ("number", lambda o: ((o - NUMBERS[:, 0]) ** 2).mean()),
    "masked": (
        "logits",
        lambda o: (F.cross_entropy(o, CLASSES, reduction="none") * BITS).sum() / 3,
    ),
    "chosen by data": (
        "logits", lambda o: F.mse_loss(o.gather(1, CLASSES[:, None])[:, 0], NUMBERS[:, 0])
    ),
    "targets with a graph": ("number", lambda o: F.mse_loss(o, o.flip(0))),
    "a power": ("number", lambda o: ((o - NUMBERS) ** 4).mean()),
    "some samples": ("number", lambda o: F.mse_loss(o[2:], NUMBERS[2:])),
    "softmax over samples": ("logits", lambda o: F.nll_loss(F.log_softmax(o, 0), CLASSES)),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_a_loss_of_torch_is_found(case: str) -> None:
    kind, loss, name, factor = FOUND[case]
    given = outputs(kind)
    value = loss(given)
    found = find_loss(value, given)
    assert found is not None
    assert found.loss_fn.name == name
    assert len(found.targets) == B
    torch.testing.assert_close(found.loss_fn(given, found.targets) * factor, value)
    # It takes batches of other sizes.
    few = found.loss_fn(given[:3], found.targets[:3])
    assert few.ndim == 0
    assert bool(torch.isfinite(few))


@pytest.mark.parametrize("case", OTHER)
def test_what_is_more_than_that_is_not(case: str) -> None:
    kind, loss = OTHER[case]
    given = outputs(kind)
    assert find_loss(loss(given), given) is None


@pytest.mark.parametrize("factor", [1, 0.25, 3.0])
def test_the_loss_may_be_an_output_of_the_model(factor: float) -> None:
    logits = outputs("logits")
    own = F.cross_entropy(logits, CLASSES)
    found = find_own_loss(own * factor, {"logits": logits, "loss": own})
    assert found is not None
    assert found.chosen({"logits": logits, "loss": own}) is own


def test_a_loss_beside_the_outputs_is_none_of_them() -> None:
    logits = outputs("logits")
    assert find_own_loss(F.cross_entropy(logits, CLASSES), (logits, logits.sum())) is None


def test_the_graph_is_left_as_it_was() -> None:
    given = outputs("words")
    loss = F.cross_entropy(given.transpose(1, 2), WORDS)
    find_loss(loss, given)
    loss.backward()
    assert loss.grad_fn is not None


A, OTHERS, BOTH = torch.ones(B, 1), torch.zeros(B, 1), F.binary_cross_entropy_with_logits
SUMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "real and fake": lambda a, b: BOTH(a, A) + BOTH(b, OTHERS),
    "half of both": lambda a, b: (BOTH(a, A) + BOTH(b, OTHERS)) / 2,
    "each halved": lambda a, b: 0.5 * BOTH(b, OTHERS) + 0.5 * BOTH(a, A),
    "squares": lambda a, b: ((a - A) ** 2).mean() + ((b - OTHERS) ** 2).mean(),
    "sums of samples": lambda a, b: BOTH(a, A, reduction="sum") + BOTH(b, OTHERS, reduction="sum"),
}
NO_SUMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "two weights": lambda a, b: BOTH(a, A) + 0.1 * BOTH(b, OTHERS),
    "two kinds": lambda a, b: BOTH(a, A) + F.mse_loss(b, OTHERS),
    "of one call": lambda a, b: BOTH(a, A) + BOTH(a, OTHERS),
    "two sizes": lambda a, b: BOTH(a[:4], A[:4]) + BOTH(b, OTHERS),
    "a difference": lambda a, b: BOTH(a, A) - BOTH(b, OTHERS),
    "consistency": lambda a, b: BOTH(a, A) + F.mse_loss(a, b),
    "a distance of both": lambda a, b: (a - b).pow(2).mean(),
    "a penalty": lambda a, b: BOTH(a, A) + BOTH(b, OTHERS) + a.pow(2).mean(),
}


@pytest.mark.parametrize("case", SUMS)
def test_a_sum_of_losses_of_two_calls_is_that_of_all_samples(case: str) -> None:
    calls = [outputs("number"), outputs("number") * 2 - 1]
    value = SUMS[case](*calls)
    found = find_sum(value, calls)
    assert found is not None
    together = torch.cat([calls[number] for number in found.rounds])
    again = found.loss_fn(together, torch.cat(found.targets))
    # Of a mean the number that it is multiplied by is no part of the function.
    mean = (BOTH(calls[0], A) + BOTH(calls[1], OTHERS)) / 2
    if case == "squares":
        mean = (((calls[0] - A) ** 2).mean() + ((calls[1] - OTHERS) ** 2).mean()) / 2
    torch.testing.assert_close(again, value if case == "sums of samples" else mean)


@pytest.mark.parametrize("case", NO_SUMS)
def test_other_sums_are_not_found(case: str) -> None:
    calls = [outputs("number"), outputs("number") * 2 - 1]
    assert find_sum(NO_SUMS[case](*calls), calls) is None
