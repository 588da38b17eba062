"""What holds for every probe there is; a new file is tested the moment it exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.commands.running import WatchProbe
from nbdebug.core.plugins import discover, instances
from nbdebug.model.module.names import Layer, measured_layers, trainable
from nbdebug.model.training_state import TrainingState
from nbdebug.probes._layer_outputs import LayerOutputs
from nbdebug.probes.base import Probe, Values
from tests.inside import probes_of, queue_of
from tests.problems import PlainLoop, blobs, images, same_weights, tiny_cnn, tiny_mlp

PROBES = discover("nbdebug.probes", Probe)
PROBLEMS: Mapping[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "mlp": (tiny_mlp, blobs),
    "cnn": (tiny_cnn, images),
}
STEPS = 30

MakeDebugger = Callable[..., nbd.Debugger]


def hooks(model: nn.Module) -> int:
    """Hooks of every kind, on modules and on parameters."""
    kinds = (
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_state_dict_hooks",
    )
    on_modules = sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds)
    on_tensors = sum(
        len(p._backward_hooks or {}) + len(p._post_accumulate_grad_hooks or {})
        for p in model.parameters()
    )
    patched = sum("forward" in vars(module) for module in model.modules())
    return on_modules + on_tensors + patched


def plain(problem: str) -> PlainLoop:
    make, data = PROBLEMS[problem]
    model = make()
    return PlainLoop(model, data(), torch.optim.Adam(model.parameters(), lr=1e-3)).run(STEPS)


@pytest.fixture
def debug_with(monkeypatch: pytest.MonkeyPatch) -> MakeDebugger:
    """Makes a Debugger that has this one probe, due at every step."""

    def make(probe: Probe, problem: str = "mlp", **keywords: Any) -> nbd.Debugger:
        def only(package: str, base: type, on_error: Any) -> tuple[Any, ...]:
            found: Any = instances(package, base, on_error)
            return (probe,) if package == "nbdebug.probes" else found

        monkeypatch.setattr("nbdebug.debugger.assembly.instances", only)
        monkeypatch.setattr(type(probe), "every", 1)
        model, data = PROBLEMS[problem]
        loss = {} if "step_fn" in keywords else {"loss_fn": nn.CrossEntropyLoss()}
        dbg = nbd.Debugger(model(), data(), batch_size=32, overhead=1.0, **loss, **keywords)
        if probe.on_demand:
            queue_of(dbg).put(WatchProbe(probe.name, True))
        return dbg

    return make


@pytest.fixture(params=PROBES, ids=lambda probe: probe.name)
def probe(request: pytest.FixtureRequest) -> Probe:
    made = request.param()
    assert isinstance(made, Probe)
    return made


def test_names_and_places_are_not_shared() -> None:
    for attribute in ("name", "order"):
        values = [getattr(probe, attribute) for probe in PROBES]
        assert len(set(values)) == len(values) > 0


def test_the_description_is_complete(probe: Probe) -> None:
    first = (type(probe).__doc__ or "").strip().split("\n\n")[0]
    assert first.endswith((".", ":"))
    assert probe.name.isidentifier()
    assert probe.name.lower() == probe.name
    assert probe.cost in ("cheap", "expensive")
    assert probe.every >= 1


@pytest.mark.parametrize("problem", PROBLEMS)
def test_training_is_bit_equal_to_a_plain_loop(
    probe: Probe, problem: str, debug_with: MakeDebugger
) -> None:
    expected = plain(problem)
    with debug_with(probe, problem) as dbg:
        outside = torch.get_rng_state()
        dbg.run(steps=STEPS)
        assert torch.equal(torch.get_rng_state(), outside)
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert same_weights(dbg.model, expected.model)
        assert dbg.history.notices == ()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_no_hook_is_left_after_a_step(probe: Probe, problem: str, debug_with: MakeDebugger) -> None:
    with debug_with(probe, problem) as dbg:
        for _ in range(5):
            dbg.step()
            assert hooks(dbg.model) == 0


def test_no_hook_is_left_after_a_step_that_failed(probe: Probe, debug_with: MakeDebugger) -> None:
    during: list[int] = []
    broken = [False]

    def step_fn(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        X, y = batch
        outputs = model(X)
        during.append(hooks(model))
        if broken[0]:
            raise RuntimeError("no luck")
        return nn.functional.cross_entropy(outputs, y)

    with debug_with(probe, step_fn=step_fn) as dbg:
        # The very first step also observes the order of the layers.
        dbg.step()
        dbg.rewind(0)
        during.clear()
        dbg.step()
        broken[0] = True
        with pytest.raises(RuntimeError, match="no luck"):
            dbg.step()
        assert hooks(dbg.model) == 0
        broken[0] = False
        dbg.step()
        assert hooks(dbg.model) == 0
        # What was hooked before the failure is hooked again after it.
        assert during[0] == during[-1]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_series_have_the_documented_names(
    probe: Probe, problem: str, debug_with: MakeDebugger
) -> None:
    of_terms = {"step_fn": two_terms} if probe.name == "data_term" else {}
    with debug_with(probe, problem, **of_terms) as dbg:
        before = set(dbg.history.series)
        dbg.step(3)
        snapshot = dbg.history.snapshot()
        alone = {*before, *always(problem)}
        measured = [name for name in (*snapshot.series, *snapshot.histograms) if name not in alone]
        members = [name for name, _ in trainable(dbg.model)]
        members += [layer.name for layer in measured_layers(dbg.model)]
    documentation = type(probe).__doc__ or ""
    # There is no copy beside these models, their losses compare no outputs with each other, and
    # one rank trains them.
    others = ("/<copy>`", "compares with each other", "several ranks train together")
    assert bool(measured) is not any(words in documentation for words in others)
    if "/<class>`" in documentation:
        members = [str(number) for number in range(len(measured))]
    for name in measured:
        group, _, member = name.partition("/")
        assert f"`{group}" in documentation
        assert not member or member in members
    in_order = [name.partition("/")[2] for name in measured if "/" in name]
    first_group = list(dict.fromkeys(in_order))
    assert first_group == [member for member in members if member in first_group]


def two_terms(model: nn.Module, batch: Any) -> torch.Tensor:
    outputs = model(batch[0])
    return nn.functional.cross_entropy(outputs, batch[1]) + outputs.square().mean()


def always(problem: str) -> set[str]:
    """Series that are there without any probe."""
    make, data = PROBLEMS[problem]
    with nbd.Debugger(make(), data(), nn.CrossEntropyLoss()) as dbg:
        probes_of(dbg).scheduled.clear()
        dbg.step()
        return set(dbg.history.series)


class Failing(Probe):
    """Measures `failing`, and breaks at one place."""

    name = "failing"
    cost = "cheap"

    def __init__(self, place: str) -> None:
        self.place = place
        self.calls = 0
        self.outputs: LayerOutputs | None = None

    def _maybe_fail(self, place: str) -> None:
        self.calls += 1
        if place == self.place:
            raise RuntimeError(f"broken in {place}")

    def attach(self, session: TrainingState) -> None:
        self.layers = measured_layers(session.model)
        self._maybe_fail("attach")

    def begin(self, step: int) -> None:
        self.outputs = LayerOutputs(self.layers, self._look)
        self._maybe_fail("begin")

    def _look(self, layer: Layer, output: torch.Tensor) -> None:
        self._maybe_fail("hook")

    def before_update(self, step: int) -> None:
        self._maybe_fail("before_update")

    def read(self, step: int) -> Values:
        assert self.outputs is not None
        self.outputs.finish()
        self._maybe_fail("read")
        wrong: dict[str, Values] = {
            "taken": {"loss": 1.0},
            "taken in a group": {("other", "grad_norm"): torch.zeros(2)},
            "size": {("one", "two"): torch.zeros(3)},
        }
        return wrong.get(self.place, {"failing": 1.0})

    def cancel(self) -> None:
        if self.outputs is not None:
            self.outputs.remove()
        self._maybe_fail("cancel")


@pytest.mark.parametrize(
    "place",
    [
        "attach",
        "begin",
        "hook",
        "before_update",
        "read",
        "cancel",
        "taken",
        "taken in a group",
        "size",
    ],
)
def test_a_probe_that_breaks_is_switched_off_and_training_goes_on(
    place: str, debug_with: MakeDebugger
) -> None:
    probe = Failing(place)
    expected = plain("mlp")
    with debug_with(probe) as dbg:
        dbg.run(steps=2)
        calls = probe.calls
        dbg.run(steps=STEPS - 2)
        [notice] = dbg.history.notices
        assert same_weights(dbg.model, expected.model)
        assert dbg.history.frame("loss")["loss"].tolist() == expected.losses
        assert hooks(dbg.model) == 0
        assert dbg.failure is None
    assert probe.calls == calls
    assert notice.severity == "warning"
    assert "failing" in notice.title
    assert "switched off" in notice.title
    assert "Training continues" in notice.text


def test_the_same_probe_whole_measures_every_step(debug_with: MakeDebugger) -> None:
    with debug_with(Failing("nowhere")) as dbg:
        dbg.run(steps=7)
        assert dbg.history.frame("failing")["failing"].tolist() == [1.0] * 7
        assert dbg.history.notices == ()
