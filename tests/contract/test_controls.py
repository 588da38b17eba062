"""What holds for every control there is; a new file is tested the moment it exists."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nbdebug.controls.base import Control
from nbdebug.core.plugins import discover
from nbdebug.errors import ControlValueError
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.setup import Setup
from tests.problems import blobs, tiny_mlp

CONTROLS = discover("nbdebug.controls", Control)


class TinyGru(nn.Module):
    """Reads the features of a sample one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(1, 8, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.head(self.gru(X.unsqueeze(-1))[0][:, -1])


def make_session(optimizer: str = "adam", build: Callable[[], nn.Module] = tiny_mlp) -> Session:
    """A session two steps into its training, so that the optimizer has gathered state."""
    model = build()
    session = Session(
        Setup(model, blobs(), nn.CrossEntropyLoss(), optimizer=optimizer, batch_size=32)
    )
    for _ in range(2):
        loss = session.evaluate(session.sampler.next().data)[0]
        session.optimizer.zero_grad()
        loss.backward()
        session.optimizer.step()
    return session


# What to try where no slider offers anything.
SAMPLES: dict[str, list[Any]] = {
    "excluded_samples": [(3,), (0, 17, 199)],
    "relabelled": [{3: 1}, {0: 2, 17: 0}],
}
ACTIONS = [control for control in CONTROLS if control().spec(make_session()).action]
SETTINGS = [control for control in CONTROLS if control not in ACTIONS]


@pytest.fixture(params=CONTROLS, ids=lambda control: control.name)
def control(request: pytest.FixtureRequest) -> Control:
    made = request.param()
    assert isinstance(made, Control)
    return made


@pytest.fixture
def session(control: Control) -> Session:
    """One in which the control can be used."""
    for optimizer in ("adam", "nesterov", "sgd", "rmsprop"):
        for build in (tiny_mlp, TinyGru):
            session = make_session(optimizer, build)
            if not control.spec(session).unavailable:
                return session
    pytest.skip(f"{control.name} cannot be used: {control.spec(session).unavailable}")


def state_of(session: Session) -> dict[str, Any]:
    """Everything that a control may change, to be compared."""
    optimizer = session.optimizer
    return {
        "modules": [(name, type(m).__name__) for name, m in session.model.named_modules()],
        "weights": copy.deepcopy(session.model.state_dict()),
        "optimizer": type(optimizer).__name__,
        "state": copy.deepcopy(optimizer.state_dict()),
        "batch": session.batching.size,
        "samples": copy.deepcopy(vars(session.batching.sample_edits)),
        "schedule": [type(s).__name__ for s in session.schedule.schedulers],
        "course": copy.deepcopy([s.state_dict() for s in session.schedule.schedulers]),
        "clipping": {**vars(session.clipping), "window": list(session.clipping.window.ascending)},
        "recurrent": session.recurrent.limit,
        "dropout": {name: site.get() for name, site in session.dropouts.items()},
        "momentum": {name: norm.momentum for name, norm in session.batch_norms.layers.items()},
        "modes": [(name, module.training) for name, module in session.model.named_modules()],
        "gradients": [parameter.requires_grad for parameter in session.model.parameters()],
        "objects": [id(module) for module in session.model.modules()],
        "hooks": [len(module._forward_pre_hooks) for module in session.model.modules()],
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def other_values(control: Control, session: Session) -> list[Any]:
    """Valid values that are not in force."""
    spec, now = control.spec(session), control.read(session)
    if spec.kind == "samples":
        return list(SAMPLES[control.name])
    if spec.kind == "choice":
        return [_offered(control, session, value) for value, _ in spec.choices if value != now]
    middle = math.sqrt(spec.low * spec.high) if spec.scale == "log" else spec.low + spec.high / 2
    values = [spec.low, spec.high, int(middle) if spec.kind == "int" else min(middle, spec.high)]
    return [value for value in values if value != now and _valid(control, session, value)]


def _offered(control: Control, session: Session, value: Any) -> Any:
    """A choice for all layers, or for one where it must not be that of all (all frozen)."""
    members, now = control.spec(session).members, control.read(session)
    if _valid(control, session, value) or not members:
        return value
    return dict.fromkeys(members, now) | {members[0]: value}


def _valid(control: Control, session: Session, value: Any) -> bool:
    try:
        control.validate(session, value)
    except ControlValueError:
        return False
    return True


def test_names_labels_and_places_are_not_shared() -> None:
    for attribute in ("name", "label", "order"):
        values = [getattr(control, attribute) for control in CONTROLS]
        assert len(set(values)) == len(values) > 0


def test_the_description_is_complete(control: Control, session: Session) -> None:
    spec = control.spec(session)
    assert (spec.name, spec.label) == (control.name, control.label)
    assert spec.name.isidentifier()
    assert spec.label[0].isupper()
    assert spec.help.endswith(".")
    assert re.search(r"takes? effect", spec.help)
    assert not spec.advanced or spec.group != "More"
    assert (type(control).__doc__ or "").strip().split("\n")[0]
    if spec.kind == "choice":
        values = [value for value, _ in spec.choices]
        assert control.read(session) in values
        assert len(set(values)) == len(values)
        assert all(words for _, words in spec.choices)
    else:
        assert math.isfinite(spec.low)
        assert math.isfinite(spec.high)
        assert spec.low < spec.high
        assert 0 < spec.step < spec.high - spec.low
        assert spec.scale == "linear" or spec.low > 0


def test_both_ends_of_the_slider_are_valid(control: Control, session: Session) -> None:
    spec = control.spec(session)
    ends = [_offered(control, session, value) for value, _ in spec.choices]
    ends = ends or [spec.low, spec.high]
    if spec.kind == "samples":
        ends = [control.read(session), *other_values(control, session)]
    refused = [value for value in ends if not _valid(control, session, value)]
    assert refused == []


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -1.0, "fast", None, [], {"nowhere": 0.1}, object(), True],
    ids=lambda value: type(value).__name__ if type(value) is object else str(value),
)
def test_what_makes_no_sense_is_refused_by_name_and_changes_nothing(
    control: Control, session: Session, value: Any
) -> None:
    if (control.name, value) == ("clip_norm_type", math.inf):
        pytest.skip("the largest entry is a norm")
    if (control.name, value) == ("excluded_samples", []):
        pytest.skip("no sample is a choice")
    before = state_of(session)
    with pytest.raises(ControlValueError) as caught:
        control.validate(session, value)
    assert control.name in str(caught.value)
    assert same(before, state_of(session))


@pytest.mark.parametrize("control", SETTINGS, ids=lambda c: c.name, indirect=True)
def test_the_old_value_undoes_the_new_one(control: Control, session: Session) -> None:
    old, before = control.read(session), state_of(session)
    values = other_values(control, session)
    for value in values:
        control.apply(session, control.validate(session, value))
        reached = control.read(session)
        assert same(reached, value) or math.isclose(reached, value, rel_tol=1e-12)
        control.apply(session, control.validate(session, old))
        assert control.read(session) == old
        assert same(before, state_of(session))
    assert values or control.spec(session).kind == "choice"


@pytest.mark.parametrize("control", SETTINGS, ids=lambda c: c.name, indirect=True)
def test_the_same_value_twice_is_the_same_state(control: Control, session: Session) -> None:
    for value in [control.read(session), *other_values(control, session)]:
        control.apply(session, control.validate(session, value))
        once = state_of(session)
        control.apply(session, control.validate(session, value))
        assert same(once, state_of(session))


def test_validating_changes_nothing(control: Control, session: Session) -> None:
    before = state_of(session)
    for value in other_values(control, session):
        control.validate(session, value)
        control.series(session)
        control.spec(session)
    assert same(before, state_of(session))


@pytest.mark.parametrize("control", SETTINGS, ids=lambda c: c.name, indirect=True)
def test_weights_and_their_objects_stay(control: Control, session: Session) -> None:
    weights = copy.deepcopy(session.model.state_dict())
    objects = [id(parameter) for parameter in session.model.parameters()]
    for value in other_values(control, session):
        control.apply(session, control.validate(session, value))
        assert {id(p) for p in session.model.parameters()} == set(objects)
    for value, kept in zip(session.model.state_dict().values(), weights.values(), strict=True):
        assert value.dtype == kept.dtype
    norms = sorted(float(value.double().norm()) for value in session.model.state_dict().values())
    assert norms == sorted(float(value.double().norm()) for value in weights.values())


@pytest.mark.parametrize("control", ACTIONS, ids=lambda c: c.name, indirect=True)
def test_an_action_is_undone_and_leaves_no_value(control: Control, session: Session) -> None:
    values = other_values(control, session)
    objects = [id(parameter) for parameter in session.model.parameters()]
    for value in values:
        before = state_of(session)
        control.apply(session, control.validate(session, value))
        assert control.read(session) == ""
        assert not same(before, state_of(session))
        control.apply(session, control.validate(session, "undo"))
        assert same(before, state_of(session))
        control.apply(session, control.validate(session, ""))
        assert same(before, state_of(session))
    assert values
    assert [id(parameter) for parameter in session.model.parameters()] == objects


def test_the_value_as_a_number_for_plots(control: Control, session: Session) -> None:
    number = control.series(session)
    assert isinstance(number, float)
    if control.spec(session).kind == "choice":
        assert math.isnan(number)
    elif control.spec(session).kind == "samples":
        assert number == len(control.read(session)) == 0
    elif not math.isnan(number):
        assert number == control.read(session)
