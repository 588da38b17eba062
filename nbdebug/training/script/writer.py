"""Writer of a training as a plain PyTorch program that ends in the same weights."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import TensorDataset, default_collate

from nbdebug.core.commands.running import ReestimateBatchNorm, SetControl
from nbdebug.core.commands.timeline import WriteScript
from nbdebug.core.contexts import contextmanager
from nbdebug.core.files.output_files import output
from nbdebug.errors import ScriptError
from nbdebug.model.source_code import Sources
from nbdebug.runs.redaction.document import redact_document, redact_script
from nbdebug.training.data.sources import DatasetSource, TensorSource
from nbdebug.training.engine.progress import TaskProgress
from nbdebug.training.engine.session import Session
from nbdebug.training.script.batches import batch_lines, excluded_lines
from nbdebug.training.script.constructors import expression
from nbdebug.training.script.files import write_files
from nbdebug.training.script.refusals import check_writable, loss_in_step
from nbdebug.training.script.session_diff import ScriptEdits, SessionView, build
from nbdebug.training.script.templates import CLIP, HELPERS, comment
from nbdebug.training.timeline.replay_events import Event, ReplayObserver
from nbdebug.training.timeline.timeline import Timeline


class Writer(ReplayObserver):
    """Observer of a replay that writes an equivalent program without nbdebug.

    Args:
        model: the expression that builds the model, None to derive it.
        data: a function that returns (X, y) or all parts of the data; None to write the tensors.
    """

    def __init__(self, session: Session, model: str | None, data: Callable[[], Any] | None) -> None:
        self._session, self._data = session, data
        self._sources = Sources()
        self._sources.imports["import torch"] = None
        self._given = model
        self._loss = self._loss_line()
        self._blocks: list[tuple[int, list[str]]] = []
        self._rates: list[list[dict[str, Any]]] = []
        self._limits: list[float] = []
        self._saved: dict[str, Any] = {}
        self._scheduled = self._adaptive = self._clipped = self._norms_switched = False
        self._accumulates = False

    def begin(self) -> None:
        """Start the program from the first state of the replay."""
        session = self._session
        check_writable(session)
        self._model = self._given or expression(session.model, self._sources)
        kind = type(session.model)
        if self._given is not None and kind.__module__.partition(".")[0] != "torch":
            self._sources.add(kind)
        self._sources.imports["from torch import nn"] = None
        self._first = SessionView.of(session)
        if any(self._first.samples):
            raise ScriptError(
                "Samples were excluded or relabelled from the beginning, which cannot be written "
                "into a script."
            )
        self._changes = ScriptEdits(self._sources, self._first)
        self._saved["model"] = {k: v.clone() for k, v in session.model.state_dict().items()}
        self._scheduled = bool(session.schedule.schedulers)
        self._accumulates = self._first.settings["accumulate"] > 1
        self._optimizer = build(self._first)
        if session.scaler is not None:
            raise ScriptError("Training with a GradScaler cannot be written as a script yet.")

    @contextmanager
    def event(self, event: Event) -> Iterator[None]:
        """Write the lines of a replayed event."""
        if event.command is None:
            yield
            self._blocks.append((event.step, excluded_lines(self._session, event)))
            return
        before = SessionView.of(self._session)
        yield
        after = SessionView.of(self._session)
        command = event.command
        self._scheduled = self._scheduled or bool(self._session.schedule.schedulers)
        try:
            lines = self._changes.lines(event.step, before, after, with_lr=True)
        except ScriptError as error:
            raise ScriptError(
                f"{_title(command)} at step {event.step} cannot be written into a script: {error}."
            ) from None
        why = f": {command.why}" if command.why else ""
        text = f"{_title(command)}, by {command.who}{why}"
        self._clipped = self._clipped or after.settings["clip_mode"] != "off"
        self._accumulates = self._accumulates or after.settings["accumulate"] > 1
        self._norms_switched = self._norms_switched or before.eval_norms != after.eval_norms
        self._blocks.append((event.step, [f"# {comment(text)}", *lines]))

    @contextmanager
    def step(self) -> Iterator[None]:
        """Write the rates and limits of a replayed step."""
        session = self._session
        self._rates.append([moved(group) for group in session.optimizer.param_groups])
        self._adaptive = self._adaptive or session.clipping.mode == "adaptive"
        yield
        self._limits.append(self._session.clipping.limit)

    def write(self, path: Path) -> None:
        """Write the program, and next to it the file that it loads."""
        body = redact_script(self._program(path))
        write_files(path, body, redact_document("saved", self._saved | self._changes.tensors))

    def _program(self, path: Path) -> str:
        session = self._session
        steps, trained = len(self._rates), f"{path.stem}-trained.pt"
        data = self._data_lines()
        self._sources.imports["from pathlib import Path"] = None
        if session.rng.uses_host:
            self._sources.imports["import random"] = None
            self._sources.imports["import numpy as np"] = None
        title = f'"""{steps:,} steps of {type(session.model).__name__}, reproduced."""'
        imports = sorted(self._sources.imports, key=lambda line: (line[0] != "i", line))
        parts = [
            title, "", "from __future__ import annotations", "", *imports, "",
            *(f"\n{definition}\n" for definition in self._sources.definitions),
            HELPERS.strip("\n"), "",
            '\nsaved = torch.load(Path(__file__).with_suffix(".pt"), weights_only=True)',
            *data,
            f"torch.set_num_threads({torch.get_num_threads()})",
            f"model = {self._model}", 'model.load_state_dict(saved["model"])', "model.train()",
            *self._modes(),
            self._loss,
            f"optimizer = {'first = ' if self._changes.switched else ''}{self._optimizer}",
            *self._settings(),
            *self._layers(),
            *self._random(),
            *batch_lines(session, self._accumulates),
            *([CLIP.strip("\n"), ""] if self._clips() else []),
            *self._loop(steps),
            f"\ntorch.save(model.state_dict(), Path(__file__).with_name({trained!r}))\n",
        ]  # fmt: skip
        return "\n".join(parts)

    def _modes(self) -> list[str]:
        return [
            f"model.get_submodule({name!r}).eval()"
            for name, training in self._first.weights.training.items()
            if not training
        ]

    def _settings(self) -> list[str]:
        clips = self._clips()
        return [
            f"{name} = {value!r}"
            for name, value in self._first.settings.items()
            if (clips or not name.startswith("clip"))
            and (self._accumulates or name != "accumulate")
        ]

    def _random(self) -> list[str]:
        lines = [f"torch.manual_seed({self._session.seed})  # dropout"]
        if self._session.rng.uses_host:
            seed = self._session.seed
            lines += [f"np.random.seed({seed % 2**32})", f"random.seed({seed})"]
        return lines

    def _data_lines(self) -> list[str]:
        if self._data is not None:
            return [f"data = {self._sources.add(self._data)}()"]
        source = self._session.source
        if isinstance(source, TensorSource):
            tensors = source.fetch(torch.arange(source.length))
        elif (
            isinstance(source, DatasetSource)
            and type(source.dataset) is TensorDataset
            and source.collate is default_collate
        ):
            tensors = source.dataset.tensors
        else:
            raise ScriptError(
                "The data is a user-defined dataset. Give a function that loads it as tensors: "
                "dbg.script(path, data=load)."
            )
        self._saved["data"] = tuple(tensor.cpu() for tensor in tensors)
        return ['data = saved["data"]']

    def _loss_line(self) -> str:
        session = self._session
        loss = session.loss_fn if session.step_fn is None else session.step_fn
        name = "loss_fn" if session.step_fn is None else "step_fn"
        if isinstance(loss, torch.nn.Module):
            return f"{name} = {expression(loss, self._sources)}"
        found = self._sources.add(loss)
        return "" if found == name else f"{name} = {found}"

    def _clips(self) -> bool:
        return self._clipped or self._first.settings["clip_mode"] != "off"

    def _layers(self) -> list[str]:
        layers = {name: list(held) for name, held in self._session.clipping.layers.items()}
        modules = self._session.model.named_modules()
        norms = [name for name, module in modules if hasattr(module, "running_mean")]
        lines = [f"layers = {layers!r}"] if self._clips() else []
        if self._norms_switched:
            for mode in ("eval", "train"):
                lines += [
                    "", "", f"def batch_norms_{mode}():",
                    f"    for name in {norms!r}:",
                    f"        model.get_submodule(name).{mode}()", "", "",
                ]  # fmt: skip
        return lines

    def _loop(self, steps: int) -> list[str]:
        lines = ["", f"for step in range({steps}):"]
        for step in dict.fromkeys(step for step, _ in self._blocks):
            lines.append(f"    if step == {step}:")
            for at, block in self._blocks:
                if at == step:
                    lines += [textwrap.indent(line, "        ") for line in block]
        if self._scheduled:
            lines += [
                "    # Learning rates of the schedule at this step.",
                '    for group, rates in zip(optimizer.param_groups, saved["schedule"][step]):',
                "        group.update(rates)",
            ]
            self._saved["schedule"] = self._rates
        lines += self._passes()
        if self._clips():
            limit = "clip_threshold"
            if self._adaptive:
                self._saved["limits"] = self._limits
                limit = 'saved["limits"][step] if clip_mode == "adaptive" else clip_threshold'
            lines += ['    if clip_mode != "off":', f"        clip({limit})"]
        return [*lines, "    optimizer.step()"]

    def _passes(self) -> list[str]:
        """Lines of forward and backward pass."""
        clear, backward = "    optimizer.zero_grad()", "    loss.backward()"
        at, batch, share = "    ", "next_batch()", ""
        if self._accumulates:
            at, batch, share = "        ", "batch", " / len(batches)"
        if self._session.step_fn is None:
            lines = [
                f"{at}*inputs, targets = {batch}",
                f"{at}loss = loss_fn(model(*inputs), targets){share}",
            ]
        else:
            index = loss_in_step(self._session)
            lines = [f"{at}loss = step_fn(model, {batch}){index}{share}"]
        if not self._accumulates:
            return [*lines, clear, backward]
        loop = ["    batches = next_batches()", clear, "    for batch in batches:"]
        return [*loop, *lines, f"    {backward}"]


def _title(command: SetControl | ReestimateBatchNorm) -> str:
    if isinstance(command, SetControl):
        return f"{command.control} = {command.value!r}"
    return "BatchNorm statistics re-estimated"


def moved(group: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a parameter group that a schedule changes."""
    found: dict[str, Any] = {"lr": float(group["lr"])}
    return found | {key: group[key] for key in ("betas", "momentum") if key in group}


def write_script(
    timeline: Timeline, session: Session, progress: TaskProgress, command: WriteScript
) -> None:
    """Replay all steps and write them as a plain program.

    Raises:
        ScriptError: the training cannot be written, or is not reproducible.
        OutputError: nothing can be written at the path.
    """
    with output(command.path) as path:
        writer = Writer(session, command.model, command.data)
    found = timeline.replay(progress, writer)
    if not found.equal:
        raise ScriptError(f"The training is not reproducible: {found}")
    with output(path):
        writer.write(path)
