"""The ends of every slider train on, or are refused in words before they are set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import nbdebug as nbd
from nbdebug.core.control_spec import ControlSpec
from nbdebug.errors import ControlValueError, NonFiniteError
from tests.draw import some
from tests.inside import controls_of
from tests.programs import PROGRAMS

CE = nn.CrossEntropyLoss()
SCHEDULES = ("step", "exponential", "inverse_time", "cosine", "warm_restarts", "one_cycle",
             "plateau")  # fmt: skip
CLIPPING = ("norm", "value", "parameter", "layer", "adaptive")
# What has an effect only together with another control.
TOGETHER: dict[str, tuple[str, tuple[str, ...]]] = {
    "schedule_steps": ("schedule", SCHEDULES),
    "schedule_factor": ("schedule", SCHEDULES),
    "warmup_steps": ("schedule", SCHEDULES),
    "clip_threshold": ("clip_mode", CLIPPING),
    "clip_norm_type": ("clip_mode", CLIPPING),
    "clip_percentile": ("clip_mode", ("adaptive",)),
}


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def labels(count: int) -> torch.Tensor:
    return torch.arange(count) % 3


def mlp() -> nbd.Debugger:
    """41 samples in batches of 8 leave a last batch of one, which BatchNorm1d cannot take."""
    model = nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.ReLU(), nn.Linear(6, 3)
    )
    data = numbers(41, 5), labels(41)
    return nbd.Debugger(model, data, CE, batch_size=8, val_data=data, runs=None)


def squeezed() -> nbd.Debugger:
    """A BatchNorm2d over images of a single pixel, as in a squeeze-and-excite block."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 2), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    return nbd.Debugger(
        model, (numbers(17, 1, 4, 4), labels(17)), CE, batch_size=4, optimizer="nesterov", lr=0.01,
        runs=None,
    )  # fmt: skip


class Recurrent(nn.Module):
    """An LSTM whose outputs are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.lstm(x)[0].mean(1))


def recurrent() -> nbd.Debugger:
    data = numbers(20, 4, 3), labels(20)
    return nbd.Debugger(Recurrent(), data, CE, batch_size=4, optimizer="rmsprop", runs=None)


def evaluated() -> nbd.Debugger:
    """A model that was passed in eval mode, so that `mode` can be set."""
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 3))
    data = numbers(33, 5), labels(33)
    return nbd.Debugger(model.eval(), data, CE, batch_size=1, optimizer="sgd", runs=None)


MODELS: dict[str, Callable[[], nbd.Debugger]] = {
    "mlp": mlp,
    "squeezed": squeezed,
    "recurrent": recurrent,
    "evaluated": evaluated,
    "adapters": PROGRAMS["adapters_of_low_rank"].debugger,
    "gan": PROGRAMS["gan_by_turns"].debugger,
    "bfloat16": PROGRAMS["weights_in_bfloat16"].debugger,
    "autoencoder": PROGRAMS["variational_autoencoder"].debugger,
    "stochastic depth": PROGRAMS["stochastic_depth"].debugger,
}


def ends(spec: ControlSpec, every: int) -> list[dict[str, Any]]:
    """Settings at the ends of a slider, each choice, and each of them for single layers."""
    values: list[Any] = [spec.low, spec.high]
    if spec.kind == "choice":
        values = [value for value, _ in spec.choices]
    values += [{member: value} for value in values[:2] for member in spec.members[:2]]
    other, options = TOGETHER.get(spec.name, ("", ("",)))
    return [
        {spec.name: value, **({other: option} if other else {})}
        for value in values
        for option in options[::every]
    ]


SMALL = ("mlp", "squeezed", "evaluated")
EACH_MODEL = [
    pytest.param(name, marks=[] if name in SMALL else pytest.mark.slow) for name in MODELS
]


@pytest.mark.soak
@pytest.mark.parametrize("name", some(EACH_MODEL, share=2))
def test_the_ends_of_every_slider_train_on_or_are_refused(name: str) -> None:
    failed, tried = [], 0
    with MODELS[name]() as dbg:
        specs = [state.spec for state in controls_of(dbg).states()]
        for spec in specs:
            if spec.kind == "samples" or spec.unavailable:
                continue
            for values in ends(spec, 3 if name in SMALL else 1):
                dbg.reset()
                dbg.run(steps=2)
                tried += 1
                try:
                    dbg.set(**values)
                except ControlValueError:
                    continue
                try:
                    dbg.run(steps=5)
                except NonFiniteError as error:
                    # A number that overflows cannot be foreseen; it is explained.
                    if spec.name not in ("lr", "reinit"):
                        failed.append((values, str(error)))
                except Exception as error:
                    failed.append((values, f"{type(error).__name__}: {error}"))
    assert failed == []
    assert tried > 40


@pytest.mark.parametrize(
    ("build", "low"), [(mlp, 2), (squeezed, 2), (recurrent, 1), (evaluated, 1)]
)
def test_the_lowest_batch_size_is_one_that_the_model_takes(
    build: Callable[[], nbd.Debugger], low: int
) -> None:
    with build() as dbg:
        dbg.run(steps=1)
        specs = {state.spec.name: state.spec for state in controls_of(dbg).states()}
        assert specs["batch_size"].low == low
        if low == 1:
            dbg.set(batch_size=1)
        else:
            with pytest.raises(ControlValueError, match="at least 2"):
                dbg.set(batch_size=1)
        dbg.run(steps=2)


def test_batchnorm_over_positions_takes_batches_of_one() -> None:
    model = nn.Sequential(nn.Conv1d(1, 4, 2), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 3))
    with nbd.Debugger(model, (numbers(9, 1, 5), labels(9)), CE, batch_size=4, runs=None) as dbg:
        dbg.run(steps=1)
        dbg.set(batch_size=1)
        dbg.run(epochs=1)


@pytest.mark.parametrize("values", [{"bn_statistics": "track"}, {"mode": "train"}])
def test_statistics_of_one_sample_are_refused(values: dict[str, str]) -> None:
    with (evaluated if "mode" in values else mlp)() as dbg:
        if "mode" not in values:
            dbg.set(bn_statistics="freeze")
        dbg.set(batch_size=1)
        dbg.run(steps=2)
        with pytest.raises(ControlValueError, match="at least 2"):
            dbg.set(**values)
        dbg.run(steps=2)
        dbg.rewind(1)
        assert dbg.controls["batch_size"] == 1
        assert dbg.replay().equal


def test_the_last_layer_that_learns_cannot_be_frozen() -> None:
    with mlp() as dbg:
        for frozen in ("frozen", dict.fromkeys("014", "frozen")):
            with pytest.raises(ControlValueError, match="at least one layer trainable"):
                dbg.set(frozen=frozen)
        dbg.set(frozen={"0": "frozen", "1": "frozen"})
        with pytest.raises(ControlValueError, match="at least one layer trainable"):
            dbg.set(frozen={"4": "frozen"})
        dbg.run(steps=2)


def test_a_last_batch_of_one_is_left_out_and_the_epoch_ends_all_the_same() -> None:
    with mlp() as dbg:
        dbg.run(steps=12)
        assert [n.title for n in dbg.history.notices] == ["A batch of one sample was left out"]
        validated = dbg.history.frame("val_loss")
        assert len(validated) == 2
        assert dbg.replay().equal
        dbg.fork(8, lr=0.1).discard()
        dbg.rewind(7)
        dbg.run(steps=5)
        assert dbg.replay().equal


def test_the_losses_are_those_of_a_loader_that_drops_the_last_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    data = numbers(41, 5), labels(41)
    found = []
    for options in ({}, {"drop_last": True}):
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
        made.load_state_dict(model.state_dict())
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(*data), batch_size=8, shuffle=True, **options
        )
        with nbd.Debugger(made, loader, CE, runs=None) as dbg:
            dbg.run(steps=14)
            found.append(dbg.history.frame("loss")["loss"].tolist())
    assert found[0] == found[1]
