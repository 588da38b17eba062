"""Settings that a module tells of."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from nbdebug.model.module.settings import settings_of


class Fails(nn.Linear):
    def extra_repr(self) -> str:
        raise RuntimeError("not ready")


def bias_of(layer: nn.Module) -> nn.Module:
    return parametrize.register_parametrization(layer, "bias", nn.Identity())


@pytest.mark.parametrize(
    ("made", "plain"),
    [
        (parametrizations.spectral_norm(nn.Linear(6, 8)), nn.Linear(6, 8)),
        (parametrizations.weight_norm(nn.Linear(6, 8, bias=False)), nn.Linear(6, 8, bias=False)),
        (bias_of(nn.Linear(6, 8)), nn.Linear(6, 8)),
        (bias_of(nn.Conv2d(3, 4, 3, padding=1)), nn.Conv2d(3, 4, 3, padding=1)),
        (nn.LayerNorm(4), nn.LayerNorm(4)),
    ],
    ids=str,
)
def test_a_parametrized_module_says_what_a_plain_one_says(
    made: nn.Module, plain: nn.Module
) -> None:
    assert settings_of(made) == plain.extra_repr()


def test_a_module_that_cannot_say_it_says_nothing() -> None:
    assert settings_of(Fails(2, 2)) == ""
