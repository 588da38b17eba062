"""Training written a second time, in bare PyTorch, with its way back: start over, do it again.

Nothing here comes from nbdebug. Documented facts it relies on: batches are consecutive parts of
`torch.randperm(n, generator=g)` with one generator seeded once; dropout draws from torch's global
generator, seeded with the same seed before the first step; a step whose loss is not finite makes
no update and draws no random number; several changes of the learning rate (or of the schedule) at
one step boundary count as one.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tests.story.plain_clipping import Clipping
from tests.story.plain_lr import Curve
from tests.story.plain_model import MODEL_CONTROLS, flat_norms
from tests.story.plain_optimizers import Optimizers
from tests.story.plain_order import Order
from tests.story.problem import Problem

EXCLUDED = "excluded_samples"
SEED = 3
MAX_SKIPPED = 20
Event = tuple[str, Any]
# Values that take back a change; None for one that cannot be taken back.
Old = Mapping[str, Any] | None
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "as_built": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}


class NotFiniteLoss(Exception):  # noqa: N818
    """The loss of a step is NaN or infinite; its batch is gone."""


class LoneSample(Exception):  # noqa: N818
    """A batch holds one sample, of which BatchNorm has no statistics; the batch is gone."""


class CannotTrain(Exception):  # noqa: N818
    """The model cannot make this step; nothing was changed by the attempt."""


class PlainTraining:
    """A training and everything that was done to it.

    Attributes:
        past: ("step", None), ("skip", None), ("set", ({control: value}, old values)) and
            ("undo", {control: old value}), in order.
        losses: one for each step of the past.
    """

    def __init__(self, problem: Problem, past: Sequence[Event] = ()) -> None:
        self.problem = problem
        self.model = problem.build()
        self.model.train()
        self.past: list[Event] = []
        self.losses: list[float] = []
        self.order = Order(len(problem.data[1]), SEED)
        self._random = torch.Generator().manual_seed(SEED).get_state()
        self.epoch = 0.0
        self.clipping = Clipping()
        self._before_reinit: tuple[dict[str, Any], dict[Any, Any], Any] | None = None
        self.values: dict[str, Any] = {
            "batch_size": 8, "clip_mode": "off", "clip_threshold": 1.0, "clip_norm_type": "2",
            "layer_order": "as_built", "activation": "as_built", "bn_statistics": "track",
            "not_finite": "stop", EXCLUDED: (), "relabelled": {}, "schedule": "constant",
        }  # fmt: skip
        lr = problem.start.get("lr", 1e-3)
        kind = problem.start.get("optimizer", "adam")
        self.optimizers = Optimizers(kind, list(self.model.parameters()), lr)
        self.curve = Curve(lr)
        self._set(problem.start)
        for event, value in past:
            self._again(event, value)

    # The verbs

    def run(self, steps: int) -> None:
        """Make so many steps.

        Raises:
            NotFiniteLoss, CannotTrain: fewer were made.
        """
        for _ in range(steps):
            self.step()

    def run_epochs(self, epochs: float) -> None:
        """Make steps until so much more of the data was seen."""
        goal = self.epoch + epochs
        while self.epoch < goal:
            self.step()

    def step(self) -> None:
        """Make one step, past batches that are to be left out."""
        while True:
            try:
                self._one_step()
                return
            except LoneSample:
                self.past.append(("alone", None))
            except NotFiniteLoss:
                skipped = self._skipped_here()
                self.past.append(("skip", None))
                if self.values["not_finite"] == "stop" or skipped + 1 >= MAX_SKIPPED:
                    raise

    def set(self, values: Mapping[str, Any], old: Old = None) -> None:
        """Change controls, at this step boundary."""
        self._set(values)
        self.past.append(("set", (values, old)))

    def undo(self, old: Mapping[str, Any]) -> None:
        """Take back the last change that is in force."""
        self._set(old)
        self.past.append(("undo", old))

    @property
    def edits(self) -> list[tuple[int, Old]]:
        """Changes in force: length of the past before each, and the values that take it back."""
        found: list[tuple[int, Old]] = []
        for place, (kind, value) in enumerate(self.past):
            if kind == "undo":
                found.pop()
            elif kind == "set" and value[1] != {}:
                found.append((place, value[1]))
        return found

    def at(self, step: int) -> int:
        """Length of the past when so many steps were made and nothing was done after the last."""
        made = [place for place, (kind, _) in enumerate(self.past, 1) if kind == "step"]
        return ([0, *made])[step]

    def back(self, length: int) -> PlainTraining:
        """What training was when its past was so long: all of it done again."""
        return PlainTraining(self.problem, self.past[:length])

    def state(self) -> dict[str, torch.Tensor]:
        """Weights, buffers and the optimizer's state, by name."""
        found = dict(self.model.state_dict())
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, torch.Tensor):
                    found[f"{name}/{key}"] = value
        return found

    def trains_with(self, frozen: Mapping[str, str]) -> bool:
        """Whether a parameter stays trainable when layers are frozen or unfrozen."""
        changed = {
            parameter: how == "trainable"
            for layer, how in frozen.items()
            for parameter in self.model.get_submodule(layer).parameters()
        }
        return any(changed.get(p, p.requires_grad) for p in self.model.parameters())

    @property
    def can_undo_reinit(self) -> bool:
        """Whether new initial weights can be taken back."""
        return self._before_reinit is not None

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The one in force."""
        return self.optimizers.current

    # Steps

    def _again(self, event: str, value: Any) -> None:
        if event == "set":
            self.set(*value)
        elif event == "undo":
            self.undo(value)
        elif event == "step":
            self._one_step()
        elif event == "alone":
            with contextlib.suppress(LoneSample):
                self._one_step()
            self.past.append((event, value))
        else:
            with contextlib.suppress(NotFiniteLoss):
                self._one_step()
                raise AssertionError("What was not finite is finite now.")
            self.past.append((event, value))

    def _one_step(self) -> None:
        before = copy.copy(self.order), self.order.generator.get_state()
        indices = self.order.take(self.values["batch_size"], set(self.values[EXCLUDED]))
        if len(indices) == 1 and any(norm.training for norm in flat_norms(self.model)):
            raise LoneSample
        if not any(p.requires_grad for p in self.model.parameters()):
            self.order, drawn = before
            self.order.generator.set_state(drawn)
            raise CannotTrain
        x, y = (tensor[indices] for tensor in self.problem.data)
        for place, index in enumerate(indices):
            if index in self.values["relabelled"]:
                y[place] = self.values["relabelled"][index]
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        with self._own_random() as keep:
            loss = nn.functional.cross_entropy(self._forward(x), y)
            if not torch.isfinite(loss):
                for buffer, old in zip(self.model.buffers(), buffers, strict=True):
                    buffer.copy_(old)
                raise NotFiniteLoss
            keep()
        self.optimizer.zero_grad()
        loss.backward()
        self.clipping.clip(self.model)
        self.optimizer.step()
        self.losses.append(loss.item())
        self.epoch = self.order.epoch
        self.curve.step()
        self._write_lr()
        self.past.append(("step", None))

    @contextmanager
    def _own_random(self) -> Iterator[Callable[[], None]]:
        """The global generator is this training's inside; where it stands is kept on demand."""
        outer = torch.get_rng_state()
        torch.set_rng_state(self._random)
        try:
            yield self._remember_random
        finally:
            torch.set_rng_state(outer)

    def _remember_random(self) -> None:
        self._random = torch.get_rng_state()

    def _skipped_here(self) -> int:
        count = 0
        for kind, _ in reversed(self.past):
            if kind == "step":
                break
            count += kind == "skip"
        return count

    def _forward(self, x: torch.Tensor) -> Any:
        if not self.problem.orders:
            return self.model(x)
        children = dict(self.model.named_children())
        for name in self.problem.orders[self.values["layer_order"]]:
            child = children[name]
            if isinstance(child, nn.ReLU):
                child = ACTIVATIONS[self.values["activation"]]()
            x = child(x)
        return x

    # Controls

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            apply = getattr(self, f"_set_{name}", None)
            if apply is not None:
                apply(value)
            elif name in MODEL_CONTROLS:
                MODEL_CONTROLS[name](self.model, value)
            self.values[name] = value
            self.clipping.see(self.values)

    def _write_lr(self) -> None:
        self.optimizer.param_groups[0]["lr"] = self.curve.lr

    def _set_lr(self, value: float) -> None:
        self.curve.set_lr(value)
        self._write_lr()

    def _set_schedule(self, kind: str) -> None:
        self.curve.follow(kind)
        self._write_lr()

    def _set_momentum(self, value: float) -> None:
        group = self.optimizer.param_groups[0]
        if "betas" in group:
            group["betas"] = (value, group["betas"][1])
        else:
            group["momentum"] = value

    def _set_beta2(self, value: float) -> None:
        group = self.optimizer.param_groups[0]
        if "betas" in group:
            group["betas"] = (group["betas"][0], value)
        else:
            group["alpha"] = value

    def _set_weight_decay(self, value: float) -> None:
        self.optimizer.param_groups[0]["weight_decay"] = value

    def _set_optimizer(self, kind: str) -> None:
        if self.optimizers.switch(kind):
            self.curve.settle()

    def _set_reinit(self, value: str) -> None:
        if value == "undo":
            self._undo_reinit()
            return
        state = self.optimizer.state
        self._before_reinit = copy.deepcopy(self.model.state_dict()), {}, state
        with self._own_random() as keep, torch.no_grad():
            for module in self.model.modules():
                reset: Any = getattr(module, "reset_parameters", None)
                if reset is None:
                    continue
                reset()
                for parameter in module.parameters():
                    self._before_reinit[1][parameter] = state.pop(parameter, None)
            keep()

    def _undo_reinit(self) -> None:
        if self._before_reinit is None:
            return
        weights, gathered, state = self._before_reinit
        self.model.load_state_dict(weights)
        for parameter, kept in gathered.items():
            state.pop(parameter, None)
            if kept is not None:
                state[parameter] = kept
        self._before_reinit = None
