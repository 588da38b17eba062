"""The layers of a model are listed in the order in which they are called."""

from __future__ import annotations

import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.results.network import Network
from tests.problems import same_weights


class Backwards(nn.Module):
    """Registered in another order than called; one layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused, self.first = nn.Linear(8, 3), nn.ReLU(), nn.Linear(4, 8)
        self.body = nn.Sequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(self.first(x)))  # type: ignore[no-any-return]


X, Y = torch.randn(64, 4), torch.randint(0, 3, (64,))


def debugger(model: nn.Module) -> nbd.Debugger:
    return nbd.Debugger(model, (X, Y), nn.CrossEntropyLoss(), batch_size=16, runs=None)


def names(dbg: nbd.Debugger) -> list[str]:
    network = dbg.history.snapshot(()).results.of(Network)
    assert network is not None
    return [layer.name for layer in network.layers]


def test_layers_are_in_the_order_of_the_flow_from_the_first_step_on() -> None:
    with debugger(Backwards()) as dbg:
        assert names(dbg) == ["last", "unused", "first", "body.0", "body.1", "body.2"]
        dbg.run(steps=1)
        assert names(dbg) == ["first", "body.0", "body.1", "body.2", "last", "unused"]


def test_output_shapes_of_all_modules_are_those_of_hooks_by_hand() -> None:
    model, seen = Backwards(), dict[str, tuple[int, ...]]()

    def note(name: str, output: torch.Tensor) -> None:
        seen.setdefault(name, tuple(output.shape))

    with debugger(model) as dbg:
        network = dbg.history.snapshot(()).results.of(Network)
        assert network is not None
        assert network.shapes == ()
        for name, module in model.named_modules():
            module.register_forward_hook(lambda _, given, out, name=name: note(name, out))
        dbg.run(steps=2)
        network = dbg.history.snapshot(()).results.of(Network)
        assert network is not None
        assert dict(network.shapes) == seen
        assert seen[""] == (16, 3)
        layers = {row["layer"]: row for row in dbg.record.model["layers"]}
        assert layers["body"]["output_shape"] == [16, 8]
        assert "output_shape" not in layers["unused"]


def test_a_moved_dropout_is_listed_where_it_runs() -> None:
    model = nn.Sequential(
        nn.Linear(4, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)
    )
    with debugger(model) as dbg:
        dbg.run(steps=1)
        assert names(dbg) == ["0", "1", "2", "3", "4"]
        dbg.set(layer_order="norm_dropout")
        dbg.run(steps=1)
        assert names(dbg) == ["0", "2", "1", "3", "4"]


def test_reset_lists_the_layers_again() -> None:
    with debugger(Backwards()) as dbg:
        dbg.run(steps=2)
        dbg.reset()
        assert len(names(dbg)) == 6


def test_no_hook_stays_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    model = Backwards()
    with debugger(model) as dbg:
        dbg.run(steps=1)
        hooks = [len(module._forward_pre_hooks) for module in model.modules()]
        assert hooks == [0] * len(hooks)
        dbg.run(steps=3)
        assert dbg.replay().equal
    torch.manual_seed(0)
    again = Backwards()
    with debugger(again) as dbg:
        dbg.run(steps=4)
    assert same_weights(model, again)


def test_a_layer_has_the_names_of_its_parameters() -> None:
    with debugger(nn.Linear(4, 3)) as dbg:
        dbg.run(steps=1)
        network = dbg.history.snapshot(()).results.of(Network)
        assert network is not None
        (layer,) = network.layers
        assert (layer.title, layer.parameters) == ("Linear", ("weight", "bias"))
        assert all(f"grad_norm/{name}" in dbg.history.series for name in layer.parameters)
