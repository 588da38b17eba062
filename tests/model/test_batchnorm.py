"""BatchNorm layers held still, and their statistics estimated anew as torch does it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from nbdebug.errors import ModelError
from nbdebug.model.batchnorm import BatchNorms, reestimate
from tests.problems import blobs, images, same_weights, tiny_cnn, tiny_mlp


def net() -> nn.Sequential:
    """Dropout before a norm, and a norm that averages over all batches."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 8),
        nn.Dropout(0.5),
        nn.BatchNorm1d(8, momentum=0.3),
        nn.ReLU(),
        nn.BatchNorm1d(8, momentum=None),
        nn.Linear(8, 4),
    )


@pytest.mark.parametrize(
    ("build", "X"),
    [(net, blobs()[0]), (tiny_mlp, blobs()[0]), (tiny_cnn, images()[0])],
    ids=["mixed", "mlp", "cnn"],
)
def test_estimates_are_those_of_torch(build: Callable[[], nn.Module], X: torch.Tensor) -> None:
    model = build()
    for batch in X.split(40):
        model(batch)
    reference = copy.deepcopy(model)
    state = torch.get_rng_state()
    assert reestimate(model, X.split(40)) == len(X.split(40))
    assert torch.equal(torch.get_rng_state(), state)
    update_bn(X.split(40), reference)
    assert same_weights(model, reference)
    names = dict(model.named_buffers())
    assert any(
        not torch.equal(value, dict(build().named_buffers())[k]) for k, value in names.items()
    )


def test_everything_else_stays() -> None:
    model = net()
    X, _ = blobs()
    model(X).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    values = [g.clone() for g in gradients if g is not None]
    model[1].eval()
    reestimate(model, X.split(50))
    assert [p.grad is g for p, g in zip(model.parameters(), gradients, strict=True)] == [True] * 8
    assert all(torch.equal(p.grad, v) for p, v in zip(model.parameters(), values, strict=True))
    assert [module.training for module in model] == [True, False, True, True, True, True]
    assert (model[2].momentum, model[4].momentum) == (0.3, None)


def test_a_norm_in_eval_mode_keeps_its_statistics() -> None:
    model = net()
    model[2].eval()
    reestimate(model, blobs()[0].split(50))
    assert model[2].num_batches_tracked == 0
    assert model[4].num_batches_tracked == 4


def test_a_batch_that_fails_changes_nothing() -> None:
    model = net()
    X, _ = blobs()
    model(X)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError):
        reestimate(model, [X[:50], torch.zeros(5, 3)])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert (model[2].momentum, model[4].momentum) == (0.3, None)


def test_nothing_to_estimate_or_to_estimate_from() -> None:
    X, _ = blobs()
    model = net()
    with pytest.raises(ModelError, match="no batch"):
        reestimate(model, [])
    with pytest.raises(ModelError, match="No BatchNorm"):
        reestimate(nn.Sequential(nn.Linear(12, 2)), X.split(50))
    with pytest.raises(ModelError, match="No BatchNorm"):
        reestimate(nn.Sequential(nn.BatchNorm1d(12, track_running_stats=False)), X.split(50))


def test_found_are_norms_with_running_statistics_shared_ones_once() -> None:
    norm = nn.BatchNorm1d(4)
    model = nn.ModuleDict(
        {
            "one": norm,
            "block": nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(4, track_running_stats=False)),
            "two": norm,
            "other": nn.LayerNorm(4),
        }
    )
    assert list(BatchNorms(model).layers) == ["one", "block.0"]


def test_frozen_norms_stay_in_eval_mode_and_leave_no_hook() -> None:
    model = net()
    X, _ = blobs()
    norms = BatchNorms(model)
    norms.freeze(True)
    norms.freeze(True)
    before = copy.deepcopy(model.state_dict())
    model.train()
    outputs = model(X)
    assert outputs.shape == (200, 4)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert isinstance(pickle.loads(pickle.dumps(model)), nn.Sequential)
    norms.freeze(False)
    assert [module.training for module in model] == [True] * 6
    assert not any(module._forward_pre_hooks for module in model)
