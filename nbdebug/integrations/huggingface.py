"""Watches Hugging Face's Trainer: `Trainer(callbacks=[nbdebug.integrations.huggingface.Watch()])`.

The Trainer does not hand itself to its callbacks: batches are seen where they enter the model, and
the loss where it goes backward.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from nbdebug.core.results.metric_names import LogFilter
from nbdebug.errors import MissingPackageError
from nbdebug.integrations.base import TrainerWatch
from nbdebug.model.module.hooks import before_forward
from nbdebug.model.state.wrapped_optimizer import bare_optimizer

INSTALL_HINT = (
    "This watches the Trainer of transformers 5 with accelerate, which cannot be imported ({0}): "
    'pip install "transformers[torch]>=5"'
)
try:
    import accelerate as accelerate
    import transformers
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingPackageError(INSTALL_HINT.format(error)) from error


def check_version(version: str) -> None:
    """Raise MissingPackageError for a version of transformers without what is used here."""
    if int(version.partition(".")[0]) < 5:
        raise MissingPackageError(INSTALL_HINT.format(f"installed is {version}"))


check_version(transformers.__version__)

PROCESSES = (
    "it trains on {0} devices. Set CUDA_VISIBLE_DEVICES=0 and start one process to watch it."
)
ENGINE = "{0} makes the updates itself, and its gradients and weights are not those of the model."
NO_OPTIMIZER = "its optimizer is a {0}, which is none of torch."
# Written by the Trainer itself into a log; the losses there are averages.
OF_THE_TRAINER = re.compile(
    r"loss|grad_norm|learning_rate|epoch|total_flos|num_input_tokens_seen|train_.*|"
    r".*(_runtime|_per_second|_compilation_time|_mem_\w+)"
)


class Watch(TrainerWatch, TrainerCallback):  # type: ignore[misc]
    """Callback of a Hugging Face Trainer that makes the dashboard when training begins.

    Pause waits before a batch. A step is an update, also with `gradient_accumulation_steps`. What
    an evaluation measures is shown as `val_loss` and so on, and what else is logged by its name.

    Args:
        name, runs, overhead, show, **controls: see `TrainerWatch`.

    Attributes:
        dbg: the dashboard, and all that `nbdebug.watch` returns.
    """

    trainer = "Hugging Face's Trainer"
    packages = ("transformers",)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._hook: Any = None
        self._steps: int | None = None
        self._seen = True

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: nn.Module, **given: Any
    ) -> None:
        """Make the dashboard."""
        if self.nests():
            return
        self._release()
        optimizer: Any = given.get("optimizer")
        scheduler: Any = given.get("lr_scheduler")
        if reason := why_unwatched(args, bare_optimizer(optimizer)):
            self.refuse(reason)
            return
        scheduler = getattr(scheduler, "scheduler", scheduler)
        known = isinstance(scheduler, LRScheduler)
        self.begin(model, optimizer, schedulers=[scheduler] if known else [])
        if self._present() is None:
            return
        self.dbg.history.set_result(LogFilter(args.logging_nan_inf_filter))
        self._steps = _steps_per_epoch(args, given.get("train_dataloader"))
        if not args.torch_compile:
            self._hook = before_forward(model, self._enter, with_kwargs=True)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin an epoch."""
        self.begin_epoch(self._steps)

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Wait while training is paused."""
        self.begin_step()
        self._seen, self._done = False, state.global_step

    def on_substep_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Expect another batch of this step."""
        self._seen = False

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """End the step."""
        self._seen = True
        self.end_step()

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **given: Any
    ) -> None:
        """Show what an evaluation measured."""
        self._log({f"val_{name.removeprefix('eval_')}": v for name, v in _own(metrics).items()})

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **given: Any
    ) -> None:
        """Show what the user logs."""
        self._log({n: v for n, v in _own(logs).items() if not n.startswith("eval_")})

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Say that training has ended."""
        if not self._trainings.inside:
            self.end()
            self._release()

    def close(self) -> None:
        super().close()
        self._release()

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Take note of the first batch that enters the model in a part of a step."""
        if self._seen or self._present() is None:
            return
        self._seen = True
        batch = {**{str(n): part for n, part in enumerate(inputs)}, **named}
        batch.pop("num_items_in_batch", None)
        if self._steps is None:
            self.saw(batch)
        else:
            epoch, done = divmod(self._done, self._steps)
            self.saw(batch, epoch, (done + 1) / self._steps)

    def _log(self, values: Mapping[str, Any]) -> None:
        if values:
            self.log(**values)

    def _release(self) -> None:
        """Take away what was put on the model."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = None


def why_unwatched(args: Any, optimizer: Any) -> str:
    """Explain why a training cannot be watched; "" if it can."""
    devices = max(args.world_size, args.n_gpu)
    if devices > 1:
        return PROCESSES.format(devices)
    for engine in ("deepspeed", "fsdp"):
        if getattr(args, engine, None):
            return ENGINE.format(engine)
    if not isinstance(optimizer, torch.optim.Optimizer):
        return NO_OPTIMIZER.format(type(optimizer).__name__)
    return ""


def _steps_per_epoch(args: Any, loader: Any) -> int | None:
    try:
        batches = len(loader)
    except TypeError:
        return None
    return max(math.ceil(batches / int(args.gradient_accumulation_steps)), 1)


def _own(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Values that the Trainer does not write by itself."""
    return {name: value for name, value in logs.items() if not OF_THE_TRAINER.fullmatch(name)}
