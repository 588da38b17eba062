"""Effect of an edit on a training, as lines of plain PyTorch."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nbdebug.errors import ScriptError
from nbdebug.model.source_code import Sources
from nbdebug.model.state.bits import bitwise_equal
from nbdebug.model.state.copying import simple_attributes
from nbdebug.model.state.random_numbers.session_rng import RngPosition
from nbdebug.model.state.weights import Weights
from nbdebug.training.engine.session import Session
from nbdebug.training.script.constructors import leaf
from nbdebug.training.script.templates import comment

Options = list[dict[str, Any]]


@dataclass(frozen=True)
class SessionView:
    """View of everything that a control may change, before or after an edit.

    Attributes:
        options: options of each parameter group; held: names of its parameters.
        children: layers of each module, by key; hidden: ids of other attributes of a module
            that are no plain values.
    """

    options: Options
    held: list[list[str]]
    optimizer: torch.optim.Optimizer
    state: dict[str, Any]
    weights: Weights
    children: dict[str, dict[str, nn.Module | None]]
    hidden: dict[str, dict[str, int]]
    rng: RngPosition
    settings: dict[str, Any]
    samples: tuple[Any, ...]
    eval_norms: bool
    mode: str

    @classmethod
    def of(cls, session: Session) -> SessionView:
        """Take a view of the session."""
        named = {id(p): name for name, p in session.model.named_parameters()}
        groups = session.optimizer.param_groups
        clipping = session.clipping
        return cls(
            [{k: v for k, v in group.items() if k != "params"} for group in groups],
            [[named[id(p)] for p in group["params"]] for group in groups],
            session.optimizer,
            {named[id(p)]: v for p, v in session.optimizer.state.items() if id(p) in named},
            Weights.capture(session.model),
            {name: dict(m._modules) for name, m in session.model.named_modules()},
            {name: _hidden(m) for name, m in session.model.named_modules()},
            session.rng.position(),
            {
                "batch_size": session.batching.size,
                "accumulate": session.batching.accumulate,
                "clip_mode": clipping.mode,
                "clip_threshold": clipping.threshold,
                "clip_norm_type": clipping.norm_type,
                "clip_overrides": dict(clipping.overrides),
            },
            (session.batching.sample_edits.excluded, session.batching.sample_edits.relabelled),
            session.batch_norms.frozen,
            session.modes.current,
        )


def _modes(training: dict[str, bool]) -> Iterator[str]:
    """Lines that put modules into training mode, and some of them into eval mode.

    Args:
        training: flags of the modules by name, from the outside in.
    """
    yield "model.train()"
    for name, flag in training.items():
        yield f"model.get_submodule({name!r}).training = {flag}"


def _hidden(module: nn.Module) -> dict[str, int]:
    own = (
        "_parameters",
        "_buffers",
        "_modules",
        "_backward_hooks",
        "_backward_pre_hooks",
        "training",
    )
    return {
        name: id(value)
        for name, value in vars(module).items()
        if name not in simple_attributes(module) and name not in own
    }


class ScriptEdits:
    """Lines of code for edits, and the tensors that these lines use.

    Attributes:
        tensors: tensors by their key in `saved`.
        optimizers: name of each optimizer that was in force, by id.
    """

    def __init__(self, sources: Sources, first: SessionView) -> None:
        self._sources = sources
        self.tensors: dict[str, Any] = {}
        self.optimizers: dict[int, str] = {id(first.optimizer): "first"}
        self._kept = [first.optimizer]

    @property
    def switched(self) -> bool:
        """Tell if more than one optimizer was in force."""
        return len(self.optimizers) > 1

    def lines(self, step: int, before: SessionView, after: SessionView, with_lr: bool) -> list[str]:
        """Return the lines that turn `before` into `after`.

        Args:
            with_lr: whether to write learning rates; otherwise they come from a table.

        Raises:
            ScriptError: the edit cannot be written in plain PyTorch.
        """
        if before.samples != after.samples:
            raise ScriptError("the script trains on all samples, with their original targets")
        found = list(self._layers(before, after))
        found += self._optimizer(before, after, with_lr)
        found += self._values(step, before, after)
        for name, value in after.settings.items():
            if before.settings[name] != value:
                found.append(f"{name} = {value!r}")
        if before.mode != after.mode:
            found += _modes(after.weights.training)
        if before.eval_norms != after.eval_norms:
            mode = "eval" if after.eval_norms else "train"
            found.append(f"batch_norms_{mode}()")
        return found

    def _layers(self, before: SessionView, after: SessionView) -> Iterator[str]:
        for name, old in before.children.items():
            new = after.children.get(name, {})
            module = f"model.get_submodule({name!r})" if name else "model"
            for key, child in new.items():
                if child is not None and child is not old.get(key):
                    yield f"setattr({module}, {key!r}, {leaf(child, self._sources)})"
            if list(old) != list(new):
                self._sources.imports["from collections import OrderedDict"] = None
                pairs = f"(key, {module}._modules[key]) for key in {list(new)!r}"
                yield f"{module}._modules = OrderedDict({pairs})"
        later = after.weights.attributes.simple
        for name, attributes in before.weights.attributes.simple.items():
            now = later.get(name, {})
            swapped = any(
                after.children[p].get(k) is not before.children[p].get(k)
                for p, _, k in [name.rpartition(".")]
                if p in before.children and name
            )
            for key, value in now.items():
                if attributes.get(key, value) != value and not swapped:
                    yield f"setattr(model.get_submodule({name!r}), {key!r}, {value!r})"
            if not swapped and before.hidden[name] != after.hidden.get(name):
                raise ScriptError(
                    f"the edit patches the forward of {name or 'the model'}, which plain PyTorch "
                    "cannot express"
                )
        for name, flag in after.weights.requires_grad.items():
            if before.weights.requires_grad[name] != flag:
                yield f"model.get_parameter({name!r}).requires_grad_({flag})"
                yield f"model.get_parameter({name!r}).grad = None"

    def _optimizer(self, before: SessionView, after: SessionView, with_lr: bool) -> Iterator[str]:
        hidden = () if with_lr else ("lr", "initial_lr")
        if after.optimizer is not before.optimizer:
            yield from self._switch(before, after)
            return
        for number, names in enumerate(after.held[len(before.held) :], len(before.held)):
            yield f"optimizer.add_param_group({group(names, after.options[number])})"
        pairs = zip(before.options, after.options, strict=False)
        for number, (old, new) in enumerate(pairs):
            for key, value in new.items():
                # Of a schedule that begins or ends only the rates matter.
                if key in ("max_lr", "min_lr", "initial_lr") or key in hidden:
                    continue
                if not bitwise_equal(old.get(key), value):
                    yield f"optimizer.param_groups[{number}][{key!r}] = {_literal(value)}"

    def _switch(self, before: SessionView, after: SessionView) -> Iterator[str]:
        optimizer = after.optimizer
        known = self.optimizers.get(id(optimizer))
        if known is not None:
            yield f"optimizer = {known}"
            for number, options in enumerate(after.options):
                yield f"optimizer.param_groups[{number}].update({_options(options)!r})"
            return
        name = f"{type(optimizer).__name__.lower()}_{len(self.optimizers)}"
        self.optimizers[id(optimizer)] = name
        self._kept.append(optimizer)
        yield f"{name} = {build(after)}"
        if optimizer.state is before.optimizer.state:
            yield f"{name}.state = optimizer.state"
        yield f"optimizer = {name}"

    def _values(self, step: int, before: SessionView, after: SessionView) -> Iterator[str]:
        """Load new weights, buffers, optimizer state and random numbers from the file."""
        now, then = _tensors(after.weights), _tensors(before.weights)
        moved = {n: t for n, t in now.items() if n in then and not bitwise_equal(then[n], t)}
        if moved:
            key = f"values at {step}, {len(self.tensors)}"
            self.tensors[key] = moved
            yield f"load(model, saved[{key!r}])  # {comment(', '.join(moved))}"
        if after.optimizer is before.optimizer:
            for name in before.state.keys() - after.state.keys():
                yield f"optimizer.state.pop(model.get_parameter({name!r}), None)"
            back = {n: s for n, s in after.state.items() if s is not before.state.get(n)}
            if back:
                key = f"state at {step}, {len(self.tensors)}"
                self.tensors[key] = {
                    n: {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in s.items()}
                    for n, s in back.items()
                }
                yield f"for name, state in saved[{key!r}].items():"
                yield "    optimizer.state[model.get_parameter(name)] = dict(state)"
        if not bitwise_equal(before.rng.cpu, after.rng.cpu):
            key = f"random numbers at {step}, {len(self.tensors)}"
            self.tensors[key] = after.rng.cpu
            yield f"torch.set_rng_state(saved[{key!r}])"


def build(seen: SessionView) -> str:
    """Return the expression that builds the optimizer in force, without its optimizer state."""
    kind = type(seen.optimizer)
    if not kind.__module__.startswith("torch.optim"):
        raise ScriptError(f"the optimizer {kind.__name__} is not one of torch.optim")
    known = inspect.signature(kind).parameters
    groups = []
    for names, given in zip(seen.held, seen.options, strict=True):
        wanted = {
            key: value
            for key, value in _options(given).items()
            if key in known and (key == "lr" or known[key].default != value)
        }
        if names == list(seen.weights.parameters):
            said = "".join(f", {key}={value!r}" for key, value in wanted.items())
            return f"torch.optim.{kind.__name__}(model.parameters(){said})"
        groups.append(group(names, wanted))
    return f"torch.optim.{kind.__name__}([{', '.join(groups)}])"


def group(names: list[str], options: dict[str, Any]) -> str:
    """Return a parameter group as a dict display."""
    said = "".join(f", {key!r}: {value!r}" for key, value in _options(options).items())
    return f'{{"params": parameters({names!r}){said}}}'


def _options(options: dict[str, Any]) -> dict[str, Any]:
    return {
        key: float(value) if isinstance(value, torch.Tensor) else value
        for key, value in options.items()
        if key not in ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")
    }


def _literal(value: Any) -> str:
    return f"{float(value)!r}" if isinstance(value, torch.Tensor) else repr(value)


def _tensors(weights: Weights) -> dict[str, torch.Tensor]:
    buffers = {
        f"{module}.{key}".lstrip("."): buffer
        for module, held in weights.buffers.items()
        for key, buffer in held.items()
        if buffer is not None
    }
    return {**weights.parameters, **buffers}
