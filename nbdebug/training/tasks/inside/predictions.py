"""Predictions for the fixed samples, made between two steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from nbdebug.core.history.history import History
from nbdebug.core.results.inside.predicted_step import PredictedSamples, PredictedStep, joined
from nbdebug.core.results.inside.predictions import Predictions
from nbdebug.errors import ModelError
from nbdebug.model.loss_kind import loss_name
from nbdebug.model.module.forward import leaves, some_samples
from nbdebug.model.predicting.forms import Form, recognise
from nbdebug.model.predicting.loss_calls import LossCalls
from nbdebug.model.predicting.reading import first_tensor, read, sample_targets
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.inside.all_outputs import largest_output, samples_at_once
from nbdebug.training.tasks.inside.decision_regions import grid_of, regions_of
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples
from nbdebug.training.tasks.inside.looking import evaluated, looking
from nbdebug.training.tasks.inside.shown_samples import as_points, shown_inputs, two_inputs

# Up to so many numbers go through the model at once, more in batches as training has them.
MAX_NUMBERS = 2**20
BY_VALUE = {
    "cross_entropy": "cross_entropy",
    "mse": "mse_loss",
    "binary": "binary_cross_entropy_with_logits",
}
POSITIONS = (
    "Each sample has several positions: probabilities are means over them, the classes are those "
    "of most positions."
)


@dataclass
class _Known:
    """Facts about the fixed samples, found at the first look.

    Attributes:
        form: meaning of the outputs; fixed: the samples; targets: of them, None if they do not fit.
        result: without steps, which each look adds to.
        size: samples that go through the model at once.
    """

    form: Form
    fixed: FixedSamples
    targets: torch.Tensor | None
    result: Predictions
    size: int
    grid: torch.Tensor | None


class PredictionMaker:
    """Maker of `Predictions`; each look adds a step to those in History."""

    def __init__(self, session: Session, history: History) -> None:
        self._session, self._history = session, history
        self._known: _Known | None = None

    def look(self, fixed: FixedSamples) -> Predictions:
        """Evaluate the samples in eval mode; training stays as it was, to the bit.

        Raises:
            Exception: whatever the model raised.
        """
        with looking(self._session), torch.no_grad():
            if self._known is None or self._known.fixed is not fixed:
                self._known = None
                known = self._study(fixed)
                if isinstance(known, str):
                    return Predictions(why=f"The predictions cannot be shown, because {known}.")
                self._known = known
                self._history.drop_result(Predictions)
            known = self._known
            step = joined(list(self._steps(known)))
            result = self._regions(known, known.result)
        before = self._history.results.of(Predictions, known.result)
        return replace(result, history=before.history).with_step(step)

    def _study(self, fixed: FixedSamples) -> _Known | str:
        """Find out what the outputs mean; or why that cannot be told."""
        if not fixed.whole:
            return "step_fn does not call the model as a whole"
        size = self._fitting(fixed)
        part = slice(0, size)
        outputs = self._call(some_samples(fixed.arguments, part) if fixed.cut else fixed.arguments)
        targets = some_samples(fixed.targets, part) if fixed.cut else fixed.targets
        count = min(size, fixed.count) if fixed.cut else _rows(targets, outputs)
        tensor = first_tensor(outputs, count)
        if tensor is None:
            return f"the model gives no tensor with one row for each of the {count:,} samples"
        labels = _labels(targets, count)
        loss = fixed.loss or self._loss(outputs, targets, tensor, labels)
        form = recognise(tensor, labels, loss)
        if isinstance(form, str):
            return form
        whole = _labels(fixed.targets, fixed.count if fixed.cut else count)
        whole = whole if form.targets else None
        return _Known(form, fixed, whole, _empty(form, fixed, tensor, whole), size, _grid(fixed))

    def _fitting(self, fixed: FixedSamples) -> int:
        """Number of samples that go through the model at once."""
        if not fixed.cut:
            return fixed.count
        numbers, batch = _numbers(fixed.arguments), max(int(self._session.batching.size or 1), 1)
        most = fixed.count
        if numbers <= MAX_NUMBERS:
            # A model that takes no single sample is asked for all of them.
            with contextlib.suppress(Exception):
                one = fixed.only(0).arguments
                largest, outputs = largest_output(self._session.model, partial(self._call, one))
                numbers = _numbers(outputs) * fixed.count
                most = samples_at_once(largest, batch)
        return min(fixed.count, most if numbers <= MAX_NUMBERS else batch)

    def _loss(self, outputs: Any, targets: Any, tensor: torch.Tensor, labels: Any) -> str:
        """Name of the loss of torch that the user's loss is, or calls; "" for another."""
        loss_fn = self._session.loss_fn
        if loss_fn is None or targets is None:
            return ""
        calls = LossCalls()
        with contextlib.suppress(Exception), calls:
            value = loss_fn(outputs, targets)
            if not calls.name and labels is not None:
                return BY_VALUE.get(loss_name(tensor, labels, float(value)), "")
        return calls.name

    def _steps(self, known: _Known) -> Iterator[PredictedStep]:
        """Predictions of each batch of samples."""
        fixed, step = known.fixed, self._session.step
        if not fixed.cut:
            outputs = self._call(fixed.arguments)
            rows = known.result.samples.count
            yield read(known.form, step, _first(outputs, rows), known.targets)
            return
        for start in range(0, fixed.count, known.size):
            part = slice(start, min(start + known.size, fixed.count))
            outputs = self._call(some_samples(fixed.arguments, part))
            labels = None if known.targets is None else known.targets[part]
            yield read(known.form, step, _first(outputs, part.stop - start), labels)

    def _regions(self, known: _Known, result: Predictions) -> Predictions:
        """The result with what is predicted on the grid, if samples are two numbers."""
        if known.grid is None:
            return result
        try:
            outputs = _first(self._call(((known.grid,), {})), len(known.grid))
            found = read(known.form, self._session.step, outputs, None)
        except Exception:
            note = "The model takes no other inputs than the samples: no regions are drawn."
            known.grid, known.result = None, replace(result, notes=(*result.notes, note))
            return known.result
        return replace(result, regions=regions_of(known.grid, found))

    def _call(self, arguments: Any) -> Any:
        return evaluated(self._session.model, arguments)


def _first(outputs: Any, count: int) -> torch.Tensor:
    found = first_tensor(outputs, count)
    if found is None:
        raise ModelError(f"The model gave no tensor with one row for each of {count:,} samples.")
    return found


def _rows(targets: Any, outputs: Any) -> int:
    """Number of samples of arguments that cannot be cut: that of the targets or outputs."""
    found = [*_tensors(targets), *_tensors(outputs)]
    return len(found[0]) if found else 1


def _labels(targets: Any, count: int) -> torch.Tensor | None:
    """Targets as one tensor: the first one, if possible with `count` samples."""
    found = _tensors(targets)
    return next((one for one in found if len(one) == count), found[0] if found else None)


def _tensors(value: Any) -> list[torch.Tensor]:
    return [one for one in leaves(value) if isinstance(one, torch.Tensor) and one.ndim]


def _numbers(value: Any) -> int:
    return sum(one.numel() for one in _tensors(value))


def _grid(fixed: FixedSamples) -> torch.Tensor | None:
    inputs = two_inputs(fixed)
    return None if inputs is None else grid_of(inputs)


def _empty(
    form: Form, fixed: FixedSamples, outputs: torch.Tensor, targets: torch.Tensor | None
) -> Predictions:
    """A result without steps."""
    count = fixed.count if fixed.cut else len(outputs)
    yes_no = form.kind == "binary"
    classes = outputs.shape[form.axis] if form.kind == "classes" else 2 * yes_no
    shown = None
    if targets is not None:
        shape = torch.Size((count, *outputs.shape[1:]))
        shown = sample_targets(form, targets, shape).cpu().numpy().copy()
    rows, images = shown_inputs(fixed)
    # Of arguments that cannot be cut the rows may be other ones than the samples.
    indices = None if len(fixed.indices or ()) != count else fixed.indices
    samples = PredictedSamples(
        count, fixed.origin, indices, shown, rows, images, as_points(two_inputs(fixed))
    )
    notes = [form.note, POSITIONS if form.kind == "classes" and outputs.ndim > 2 else ""]
    return Predictions(form.kind, classes, "", tuple(filter(None, notes)), samples)
