"""Models in which dropout cannot move, and what is said about it."""

from __future__ import annotations

import copy
import inspect
import random
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from nbdebug.errors import ControlValueError, ModelError
from nbdebug.model.order.layer_order import LayerOrder


class Pair(nn.Module):
    """Norm, then dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.linear = nn.Linear(4, 4)
        self.on = True
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.drop(self.norm(x)))


class Branching(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(x)
        return self.drop(hidden) + hidden


class TwoInputs(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(x) + x)


class CalledTwice(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.linear(self.drop(self.norm(x))))


class Functional(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(self.norm(self.drop(self.linear(x)) + x), 0.5, self.training)


class DataDependent(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:
            x = -x
        return self.drop(self.norm(x))


class Flagged(Pair):
    def forward(self, x: torch.Tensor, drop: bool = True) -> torch.Tensor:
        x = self.norm(x)
        return self.drop(x) if drop else x


class Masked(Pair):
    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.drop(self.norm(x)) if mask is None else self.drop(self.norm(x) * mask)


class Moody(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(x)) if self.training else self.norm(self.drop(x))


class Chancy(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(x)) if random.random() < 2 else x


class Tossing(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.norm(x)) if torch.rand(()) < 2 else x


class CopiesItself(Pair):
    def __deepcopy__(self, memo: dict[int, Any]) -> CopiesItself:
        return self


class BetweenFunctions(Pair):
    """Behind the activation there is no layer that could carry the dropout."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.neg(functional.relu(self.drop(self.norm(x))))


class SavesInPlace(Pair):
    """Without the dropout the activation would overwrite what the sigmoid needs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(functional.relu(self.drop(torch.sigmoid(x)), inplace=True))


class Replaced(Pair):
    def __init__(self) -> None:
        super().__init__()
        self.forward = lambda x: x  # type: ignore[method-assign]


def shared() -> nn.Module:
    model = nn.ModuleList([Pair(), Pair()])
    model[1].drop = model[0].drop
    return model


def pile() -> nn.Module:
    row = [nn.Dropout(), nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 4), nn.BatchNorm1d(4)]
    return nn.Sequential(*row, nn.Linear(4, 4))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (Branching, "straight path"),
        (TwoInputs, "straight path"),
        (CalledTwice, "drop (Dropout) is called more than once in forward"),
        (shared, "0.drop (Dropout) is used in more than one place; use a separate dropout"),
        (Functional, "calls dropout as a function, which cannot be moved"),
        (Flagged, "cannot be traced by torch.fx"),
        (Masked, "calls drop elsewhere in another mode or with other arguments"),
        (Moody, "calls drop elsewhere in another mode"),
        (Chancy, "draws random numbers outside its layers"),
        (Tossing, "draws random numbers outside its layers"),
        (CopiesItself, "defines itself how it is copied"),
        (SavesInPlace, "keeps an in-place operation from overwriting sigmoid()"),
        (Replaced, "has a forward that was set on the object itself"),
        (lambda: nn.DataParallel(Pair()), "copied to every device by nn.DataParallel"),
        (lambda: torch.compile(Pair(), backend="eager"), "compiled"),
        (pile, "is not the only one: several dropouts would follow each other"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refused_with_the_reason(build: Callable[[], nn.Module], reason: str) -> None:
    model = build()
    before = [dict(vars(module)) for module in model.modules()]
    order = LayerOrder(model)
    assert (order.available, order.current) == (("as_built",), "as_built")
    assert reason in order.reason
    assert order.reason.endswith(".")
    with pytest.raises(ControlValueError, match="cannot be"):
        order.set("dropout_norm")
    assert [dict(vars(module)) for module in model.modules()] == before


def test_the_line_that_stops_the_trace_is_named() -> None:
    lines, first = inspect.getsourcelines(DataDependent)
    line = first + next(index for index, text in enumerate(lines) if "if x.sum()" in text)
    reason = LayerOrder(DataDependent()).reason
    assert f"({Path(__file__).name}:{line}: if x.sum() > 0:)" in reason
    assert reason.startswith("the model (DataDependent) cannot be traced by torch.fx: ")
    assert "control flow" in reason


def test_a_place_that_no_layer_is_next_to_is_not_offered() -> None:
    order = LayerOrder(BetweenFunctions())
    assert order.available == ("as_built", "norm_dropout", "dropout_norm")
    with pytest.raises(ControlValueError, match="it can be as_built, norm_dropout, dropout_norm"):
        order.set("activation_dropout")


def test_equal_blocks_are_told_once() -> None:
    model = nn.Sequential(*(DataDependent() for _ in range(3)))
    reason = LayerOrder(model).reason
    assert reason.startswith("0 (DataDependent) and 2 more cannot be traced")
    assert reason.count("torch.fx") == 1


def test_a_part_that_cannot_be_traced_does_not_spoil_the_rest() -> None:
    model, x = nn.Sequential(DataDependent(), Pair()), torch.randn(8, 4) - 3
    other = copy.deepcopy(model)
    note = LayerOrder(model).set("dropout_norm")
    assert "Now 1.drop (Dropout) before 1.norm (BatchNorm1d)." in note
    assert "Left alone: 0 (DataDependent) cannot be traced" in note
    torch.manual_seed(1)
    ours = model(x)
    torch.manual_seed(1)
    pair = other[1]
    assert torch.equal(ours, pair.linear(pair.norm(pair.drop(other[0](x)))))


class Toggled(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        x = self.norm(x)
        return self.linear(self.drop(x) if self.on else x)


def test_looking_at_a_model_leaves_no_trace_in_it() -> None:
    model = Toggled()
    models = nn.ModuleList([model, Chancy(), Tossing()])
    drawn, random_state = torch.get_rng_state(), random.getstate()
    LayerOrder(models)
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), drawn)
    assert random.getstate() == random_state


def test_a_flag_that_bypasses_a_moved_dropout_is_no_silent_change() -> None:
    model, x = Toggled(), torch.randn(8, 4)
    order = LayerOrder(model)
    order.set("dropout_norm")
    model(x)
    model.on = False
    with pytest.raises(ModelError, match=r"Toggled.forward did not call drop.*'as_built'"):
        model(x)
    order.set("as_built")
    assert torch.equal(model(x), model.linear(model.norm(x)))


def test_a_layer_called_from_outside_is_no_silent_change() -> None:
    model, x = Pair(), torch.randn(8, 4)
    order = LayerOrder(model)
    order.set("dropout_norm")
    with pytest.raises(ModelError, match=r"called outside of Pair.forward"):
        model.norm(x)
    order.set("as_built")
    assert model.norm(x).shape == x.shape


def test_an_error_of_the_model_comes_through_and_the_order_goes_on() -> None:
    model, x = Pair(), torch.randn(8, 4)
    LayerOrder(model).set("dropout_norm")
    with pytest.raises(RuntimeError, match="running_mean"):
        model(torch.randn(8, 5))
    assert model(x).shape == (8, 4)


def test_layers_replaced_since_are_noticed() -> None:
    model = Pair()
    order = LayerOrder(model)
    model.norm = nn.BatchNorm1d(4)
    with pytest.raises(ModelError, match="norm was replaced since"):
        order.set("dropout_norm")
    del model.drop
    with pytest.raises(ModelError, match="was replaced since"):
        order.set("dropout_norm")
    assert "forward" not in vars(model)


def test_a_model_compiled_since_is_refused_and_can_go_back() -> None:
    model = Pair()
    order = LayerOrder(model)
    order.set("norm_dropout")
    model.compile(backend="eager")
    with pytest.raises(ModelError, match="compile it after"):
        order.set("dropout_norm")
    order.set("as_built")
    assert order.current == "as_built"


def test_a_copy_of_a_reordered_model_knows_its_order() -> None:
    model, x = Pair(), torch.randn(8, 4)
    LayerOrder(model).set("dropout_norm")
    twin = copy.deepcopy(model)
    order = LayerOrder(twin)
    assert order.current == "dropout_norm"
    assert order.set("as_built") == "Now drop (Dropout) after norm (BatchNorm1d)."
    assert "forward" not in vars(twin)
    assert "forward" in vars(model)
    torch.manual_seed(1)
    ours = twin(x)
    torch.manual_seed(1)
    assert torch.equal(ours, twin.linear(twin.drop(twin.norm(x))))


def test_threads_run_a_reordered_model_beside_each_other() -> None:
    model, x = Pair().eval(), torch.randn(8, 4)
    expected = model(x)
    LayerOrder(model).set("dropout_norm")
    equal: list[bool] = []

    def run() -> None:
        equal.extend(torch.equal(model(x), expected) for _ in range(50))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 200


def test_a_model_that_trains_meanwhile_is_not_drawn_into_the_trace() -> None:
    other, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(8, 4)
    expected, ran = other(x), []

    class Interrupted(Pair):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            thread = threading.Thread(target=lambda: ran.append(other(inputs)))
            thread.start()
            thread.join()
            return super().forward(x)

    inputs = x
    assert LayerOrder(Interrupted()).available == ("as_built", "norm_dropout", "dropout_norm")
    assert ran
    assert all(torch.equal(outputs, expected) for outputs in ran)


def test_compiling_a_reordered_model_loses_no_order_silently() -> None:
    model, x = Pair(), torch.randn(8, 4)
    other = copy.deepcopy(model)
    LayerOrder(model).set("dropout_norm")
    torch.manual_seed(1)
    expected = other.linear(other.norm(other.drop(x)))
    torch.manual_seed(1)
    refused, outputs = "", torch.empty(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outputs = torch.compile(model, backend="eager")(x)
        except ModelError as error:
            refused = str(error)
    assert "go back to 'as_built'" in refused or torch.equal(outputs, expected)


def test_inspect_sees_the_signature_of_the_class() -> None:
    model = Masked()
    plain = inspect.signature(model.forward)
    pair = nn.Sequential(Pair())
    LayerOrder(pair).set("dropout_norm")
    assert str(inspect.signature(pair[0].forward)) == "(x: 'torch.Tensor') -> 'torch.Tensor'"
    assert "mask" in plain.parameters
