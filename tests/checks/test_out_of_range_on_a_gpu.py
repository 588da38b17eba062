"""What is out of range is found on the CPU: on a GPU it ends the device until a restart.

No GPU is here: a training says that it is on one, and a loss notes what would have run there.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nbdebug.checks import _safe_loss
from nbdebug.checks._safe_loss import MissingRowError, SafeLoss, out_of_range

GPU = torch.device("cuda", 0)


class Subject:
    """A training on a GPU, as far as it is asked."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.device = model, GPU


class Noting(nn.Module):
    """A loss that notes each call of its own; copies note elsewhere."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.calls: list[Any] = []

    def forward(self, outputs: Any, targets: Any) -> torch.Tensor:
        self.calls.append(1)
        return self.loss(outputs, targets)


LABELS = torch.tensor([0, 1, 2])
FAULTS = {
    "a label beyond the classes": (nn.CrossEntropyLoss(), torch.randn(3, 3), LABELS + 1),
    "a negative label": (nn.NLLLoss(), torch.randn(3, 3), LABELS - 1),
    "a label of a pixel": (nn.CrossEntropyLoss(), torch.randn(2, 3, 4), torch.full((2, 4), 9)),
    "a probability above 1": (nn.BCELoss(), torch.full((3,), 1.5), torch.ones(3)),
    "a target of BCE above 1": (nn.BCELoss(), torch.full((3,), 0.5), torch.full((3,), 255.0)),
    "a margin loss": (nn.MultiMarginLoss(), torch.randn(3, 3), LABELS + 5),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_loss_does_not_run_on_the_gpu(name: str) -> None:
    loss, outputs, targets = FAULTS[name]
    noting = Noting(loss)
    with pytest.raises((RuntimeError, IndexError)):
        SafeLoss(noting, GPU)(outputs, targets)
    assert noting.calls == []


def test_what_is_in_range_runs_there() -> None:
    noting = Noting(nn.CrossEntropyLoss(weight=torch.ones(3)))
    outputs = torch.randn(3, 3, requires_grad=True)
    SafeLoss(noting, GPU)(outputs, LABELS).backward()
    assert noting.calls == [1]
    assert outputs.grad is not None


def test_half_precision_is_tried_as_float32() -> None:
    loss = SafeLoss(lambda outputs, targets: (outputs - targets).square().mean(), GPU)
    assert loss(torch.ones(3, dtype=torch.float16), torch.ones(3)).item() == 0


def test_on_the_cpu_the_loss_runs_once() -> None:
    noting = Noting(nn.MSELoss())
    SafeLoss(noting, torch.device("cpu"))(torch.ones(3), torch.ones(3))
    assert noting.calls == [1]


def other_device(*_: Any) -> torch.Tensor:
    raise RuntimeError("Expected all tensors to be on the same device, but found two")


def test_where_the_cpu_cannot_tell_only_what_is_made_up_is_refused() -> None:
    loss = SafeLoss(other_device, GPU)
    with pytest.raises(RuntimeError, match="same device"):
        loss(torch.ones(3), torch.ones(3))
    loss.refuse(torch.ones(3), torch.ones(3))


@pytest.mark.parametrize("name", FAULTS)
def test_batches_that_would_end_the_gpu_are_found(name: str) -> None:
    loss, outputs, targets = FAULTS[name]
    subject: Any = Subject(nn.Identity())
    found = out_of_range(subject, SafeLoss(loss, GPU), [(outputs, targets)])
    assert isinstance(found, RuntimeError | IndexError)


@pytest.mark.parametrize("ids", [torch.tensor([[0, 5]]), torch.tensor([[-1, 2]])])
def test_a_row_that_an_embedding_has_not_is_named(ids: torch.Tensor) -> None:
    model = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(4, 3))
    subject: Any = Subject(model)
    found = out_of_range(subject, SafeLoss(nn.CrossEntropyLoss(), GPU), [(ids, LABELS[:1])])
    assert isinstance(found, MissingRowError)
    assert "0 has 5 rows" in str(found)
    assert not model[0]._forward_pre_hooks


def test_healthy_batches_and_the_cpu_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    subject: Any = Subject(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)))
    before = [buffer.clone() for buffer in subject.model.buffers()]
    loss, batch = SafeLoss(nn.CrossEntropyLoss(), GPU), (torch.randn(3, 4), LABELS)
    assert out_of_range(subject, loss, [batch]) is None
    assert all(map(torch.equal, before, subject.model.buffers()))
    subject.device = torch.device("cpu")
    monkeypatch.setattr(_safe_loss, "call", None)
    assert out_of_range(subject, loss, [batch]) is None
