"""Embedding of what a part of the network gives for the fixed samples."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from nbdebug._version import install_line
from nbdebug.core.commands.inside import Embed
from nbdebug.core.error_text import message_of
from nbdebug.core.names import unknown_name
from nbdebug.core.records import Array
from nbdebug.core.results.inside.embedding import Embedding
from nbdebug.errors import ArgumentError, MissingPackageError
from nbdebug.model.module.forward import leaves, some_samples, tensors_of
from nbdebug.model.module.names import stable_name
from nbdebug.model.structure.recorder import RecordedPart, Recorder
from nbdebug.training.engine.session import Session
from nbdebug.training.tasks.inside.all_outputs import AllOutputs, all_outputs
from nbdebug.training.tasks.inside.fixed_samples import FixedSamples
from nbdebug.training.tasks.inside.looking import looking
from nbdebug.training.tasks.inside.structure import recorded
from nbdebug.training.tasks.inside.values import as_array

# Of maps with more values the mean of each channel is taken; of other outputs so many values.
MAX_FEATURES = 16_384
MAX_CLASSES = 100
TSNE_FEATURES, PERPLEXITY, MIN_SAMPLES = 50, 30.0, 3
NO_ROWS = "{0} does not give one row of a tensor for each sample."
NO_MODULE = "{0} is a function: only outputs of modules are projected."
TOO_FEW = "Two axes need at least three samples, there are {0}."
NO_CUT = "Single samples cannot be taken out of these data."
NO_LOSS = "The loss of single samples is unknown."


def embedding(session: Session, samples: FixedSamples, command: Embed) -> Embedding:
    """Project the outputs of a part; training stays as it is, to the bit.

    Raises:
        ArgumentError: there is no such part. MissingPackageError: t-SNE without scikit-learn.
        Exception: whatever the model raised.
    """
    with looking(session):
        if not (samples.cut and samples.whole):
            return _without(session, command.part, command, NO_CUT)
        one = samples.only(0).fresh
        recorder = recorded(session, 1, partial(_call, session, one))[1]
        part = _wanted(recorder, command.part)
        name, reduced = stable_name(part.name), _Reduced()
        if part.module is None:
            return _without(session, name, command, NO_MODULE.format(name))
        seen = all_outputs(session, part.module, samples, recorder.largest, reduced)
        if seen is None:
            return _without(session, name, command, NO_ROWS.format(name))
        count = len(seen.reduced)
        if count < MIN_SAMPLES:
            return _without(session, name, command, TOO_FEW.format(count))
        losses, reason = _losses(session, samples, seen) if command.losses else (None, "")
    points, shares = PROJECTIONS[command.method](as_array(seen.reduced))
    targets, classes = _targets(samples)
    return Embedding(
        session.step, name, command.method, points, shares, reduced.features, samples.origin,
        None if samples.indices is None else samples.indices[:count],
        None if targets is None else targets[:count], classes, losses, reason,
    )  # fmt: skip


def _without(session: Session, name: str, command: Embed, reason: str) -> Embedding:
    return Embedding(session.step, name, command.method, np.zeros((0, 2)), reason=reason)


def _call(session: Session, one: FixedSamples) -> None:
    args, named = one.arguments
    session.model(*args, **named)


def _wanted(recorder: Recorder, name: str) -> RecordedPart:
    """The part of a name; "" is the one that gives what the last layer with parameters takes."""
    parts = recorder.parts
    if name:
        found = next((part for part in parts if stable_name(part.name) == name), None)
        if found is None:
            names = [stable_name(part.name) for part in parts]
            raise ArgumentError(unknown_name("part", name, names))
        return found
    held = [at for at, part in enumerate(parts) if part.module and [*part.module.parameters()]]
    at = last = held[-1] if held else len(parts) - 1
    while at == last or parts[at].module is None:
        before = [one for one in parts[at].inputs if one < at]
        if not before:
            return parts[last]
        at = max(before)
    return parts[at]


class _Reduced:
    """Makes outputs [N, ...] of a part to features [N, D].

    Attributes:
        features: what the features are.
    """

    features = ""

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        sizes = output.shape[1:]
        if output.ndim == 3:
            self.features = f"{sizes[1]:,} features, means over {sizes[0]:,} positions,"
            return output.mean(1) if output.is_floating_point() else output.double().mean(1)
        flat = output.flatten(1)
        if flat.shape[1] <= MAX_FEATURES:
            self.features = f"{flat.shape[1]:,} features"
            return flat
        if output.ndim > 3 and sizes[0] <= MAX_FEATURES:
            self.features = f"the means of {sizes[0]:,} channels"
            return output.flatten(2).double().mean(2)
        self.features = f"{MAX_FEATURES:,} of {flat.shape[1]:,} features"
        return flat[:, torch.linspace(0, flat.shape[1] - 1, MAX_FEATURES).long().to(flat.device)]


def _targets(samples: FixedSamples) -> tuple[Array | None, bool]:
    """Target of each sample as a number, and whether it is a class."""
    targets = samples.targets
    if not isinstance(targets, torch.Tensor) or targets.is_complex() or not targets.ndim:
        return None, False
    if targets.ndim == 2 and targets.shape[1] > 1:
        rows = as_array(targets)
        one_hot = bool((rows >= 0).all()) and bool(np.allclose(rows.sum(axis=1), 1.0))
        return (rows.argmax(axis=1).astype(np.float64), True) if one_hot else (None, False)
    if targets.numel() != samples.count:
        return None, False
    values = as_array(targets.reshape(-1))
    if targets.is_floating_point():
        return values, bool(np.isin(values, (0.0, 1.0)).all())
    return values, len(np.unique(values)) <= MAX_CLASSES


def _losses(session: Session, samples: FixedSamples, seen: AllOutputs) -> tuple[Array | None, str]:
    """Loss of each sample; None, and why, where it is unknown."""
    if samples.batch is None:
        return None, NO_LOSS
    count, loss_fn = len(seen.reduced), session.loss_fn
    try:
        if loss_fn is None or not all(_has_rows(one) for one in seen.model):
            # Each sample goes through the model again.
            found = [session.evaluate(samples.only(at).fresh.batch)[0] for at in range(count)]
        else:
            found = [loss_fn(*_one(samples, seen, at)) for at in range(count)]
        return np.array([float(loss.detach().sum()) for loss in found]), ""
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return None, f"{NO_LOSS} {message_of(error)}"


def _has_rows(outputs: Any) -> bool:
    """Tell if outputs are tensors with one row for each sample, and nothing else."""
    found = list(leaves(outputs))
    known = all(isinstance(leaf, torch.Tensor | str) for leaf in found)
    return known and len({len(one) if one.ndim else 0 for one in tensors_of(found)} - {0}) == 1


def _one(samples: FixedSamples, seen: AllOutputs, at: int) -> tuple[Any, Any]:
    """Outputs and targets of one sample."""
    row = slice(at % seen.size, at % seen.size + 1)
    outputs = some_samples(seen.model[at // seen.size], row)
    return outputs, some_samples(samples.targets, slice(at, at + 1))


def pca(values: Array, axes: int = 2) -> tuple[Array, tuple[float, ...]]:
    """Principal components of rows [N, D], and their shares of the variance.

    Made from the products of rows, so that the number of features hardly matters. The largest
    magnitude along an axis is positive. Rows with NaN or Inf become NaN.
    """
    known = np.isfinite(values).all(axis=1)
    points = np.full((len(values), axes), np.nan)
    rows = values[known]
    if not len(rows):
        return points, (0.0,) * axes
    rows = rows / (np.abs(rows).max() or 1.0)
    centred = rows - rows.mean(axis=0)
    variances, vectors = np.linalg.eigh(centred @ centred.T)
    # What is rounding of a variance of 0 is 0.
    least = variances[-1] * len(rows) * np.finfo(np.float64).eps
    variances = np.where(variances > least, variances, 0.0)[::-1][:axes]
    found = vectors[:, ::-1][:, :axes] * np.sqrt(variances)
    largest = np.abs(found).argmax(axis=0)
    found *= np.where(found[largest, np.arange(found.shape[1])] < 0, -1.0, 1.0)
    total = float((centred**2).sum()) or 1.0
    found = np.pad(found, ((0, 0), (0, axes - found.shape[1])))
    points[known] = found * (np.abs(values[known]).max() or 1.0)
    return points, tuple(float(one) / total for one in variances)


def tsne(values: Array) -> tuple[Array, tuple[float, ...]]:
    """t-SNE (van der Maaten and Hinton 2008) of the first 50 principal components, in 2-D.

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingPackageError(
            f"t-SNE needs scikit-learn, which cannot be imported ({error}). Install it with: "
            f"{install_line('lab')}"
        ) from error
    rows = pca(values, TSNE_FEATURES)[0]
    known = np.isfinite(rows).all(axis=1)
    points = np.full((len(values), 2), np.nan)
    if known.sum() < MIN_SAMPLES:
        return points, ()
    perplexity = min(PERPLEXITY, (int(known.sum()) - 1) / 3)
    made = TSNE(2, perplexity=perplexity, init="pca", random_state=0)
    points[known] = made.fit_transform(rows[known])
    return points, ()


PROJECTIONS = {"pca": pca, "tsne": tsne}
