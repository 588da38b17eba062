from __future__ import annotations

import pytest
import torch
from torch import nn

from nbdebug.errors import ControlValueError
from nbdebug.model.dropout import dropouts


def test_every_kind_is_found_in_order() -> None:
    model = nn.ModuleDict(
        {
            "encoder": nn.TransformerEncoderLayer(4, 2, 8, dropout=0.3),
            "lstm": nn.LSTM(4, 4, num_layers=2, dropout=0.2),
            "shallow": nn.GRU(4, 4),
            "alpha": nn.AlphaDropout(0.1),
            "head": nn.Sequential(nn.Linear(4, 2), nn.Dropout2d(0.4)),
        }
    )
    assert {name: site.get() for name, site in dropouts(model).items()} == {
        "encoder.self_attn": 0.3,
        "encoder.dropout": 0.3,
        "encoder.dropout1": 0.3,
        "encoder.dropout2": 0.3,
        "lstm": 0.2,
        "alpha": 0.1,
        "head.1": 0.4,
    }


def test_a_model_without_dropout_has_none() -> None:
    assert dropouts(nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2))) == {}


def test_a_shared_dropout_is_one_site() -> None:
    drop = nn.Dropout(0.5)
    assert list(dropouts(nn.Sequential(nn.Linear(2, 2), drop, nn.Linear(2, 2), drop))) == ["1"]


def test_a_model_that_is_a_dropout() -> None:
    assert dropouts(nn.Dropout(0.25))["dropout"].get() == 0.25


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
def test_a_new_value_acts_like_a_layer_built_with_it(p: float) -> None:
    model = nn.Sequential(nn.Dropout(0.5))
    dropouts(model)["0"].set(p)
    inputs = torch.randn(64, 8)
    torch.manual_seed(0)
    changed = model(inputs)
    torch.manual_seed(0)
    assert torch.equal(changed, nn.Dropout(p)(inputs))


def test_recurrent_and_attention_dropout_act_like_built_with() -> None:
    inputs = torch.randn(5, 3, 4)
    built = nn.LSTM(4, 4, num_layers=2, dropout=0.6)
    changed = nn.LSTM(4, 4, num_layers=2)
    changed.load_state_dict(built.state_dict())
    with torch.no_grad():
        dropouts(changed)["lstm"].set(0.6)
        torch.manual_seed(1)
        expected = built(inputs)[0]
        torch.manual_seed(1)
        assert torch.equal(changed(inputs)[0], expected)
    attention = nn.MultiheadAttention(4, 2, dropout=0.6)
    other = nn.MultiheadAttention(4, 2)
    other.load_state_dict(attention.state_dict())
    dropouts(other)["multiheadattention"].set(0.6)
    torch.manual_seed(2)
    expected = attention(inputs, inputs, inputs)[0]
    torch.manual_seed(2)
    assert torch.equal(other(inputs, inputs, inputs)[0], expected)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2, float("nan"), float("inf"), "0.5", None, True, False])
def test_an_impossible_value_changes_nothing(p: object) -> None:
    site = dropouts(nn.Sequential(nn.Dropout(0.5)))["0"]
    with pytest.raises(ControlValueError, match="at least 0 and below 1"):
        site.set(p)  # type: ignore[arg-type]
    assert site.get() == 0.5
