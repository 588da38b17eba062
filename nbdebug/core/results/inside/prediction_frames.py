"""Tables of predictions: rows by step and sample, confusion, largest errors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbdebug.core.results.inside.predicted_step import Floats, Integers, PredictedStep
from nbdebug.core.results.inside.recorded_predictions import RecordedPredictions
from nbdebug.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd


def to_frame(found: RecordedPredictions) -> pd.DataFrame:
    """One row for each step and sample; see `Predictions.to_frame`."""
    import pandas as pd

    if not found.history:
        return pd.DataFrame({"step": [], "sample": []})
    return pd.concat([step_frame(found, one) for one in found.history], ignore_index=True)


def step_frame(found: RecordedPredictions, one: PredictedStep) -> pd.DataFrame:
    """Rows of one step."""
    import pandas as pd

    count, outputs = len(one.values), one.values.shape[1]
    names = np.array([found.samples.name(position) for position in range(count)], np.int64)
    columns: dict[str, Any] = {"step": one.step, "sample": names}
    targets = found.samples.targets
    if found.kind == "classes" or one.predicted is not None:
        if targets is not None:
            columns["target"] = _known(targets)
        columns["predicted"] = _known(one.predicted)
        if one.of_target is not None:
            columns["probability"] = one.of_target
        columns["confidence"] = one.confidence
        if targets is not None:
            columns["right"] = (one.predicted == targets) if one.right is None else one.right
        return pd.DataFrame(columns)
    columns["sample"] = names.repeat(outputs)
    if outputs > 1:
        columns["output"] = np.tile(np.arange(outputs), count)
    if targets is not None:
        columns["target"] = targets.ravel()
    word = "probability_of_yes" if found.kind == "binary" else "predicted"
    columns[word] = one.values.ravel()
    if targets is not None and found.kind == "binary":
        columns["right"] = (one.values > 0.5).ravel() == (targets > 0.5).ravel()
    elif targets is not None:
        columns["error"] = one.values.ravel() - targets.ravel()
    return pd.DataFrame(columns)


def _known(classes: Any) -> Any:
    """Classes, where -1 is none."""
    import pandas as pd

    found = pd.array(classes, dtype="Int64")
    found[np.asarray(classes) < 0] = pd.NA
    return found


def counted(found: RecordedPredictions, one: PredictedStep) -> tuple[Integers, Integers, Integers]:
    """Classes [K], counts of each target and predicted class [K, K], and of NaN [K].

    The last are predictions that are NaN or Inf, by their target.

    Raises:
        ArgumentError: there are no classes, or no targets.
    """
    if found.kind not in ("classes", "binary"):
        raise ArgumentError("The model predicts values, and no classes to be confused.")
    targets = found.samples.targets
    if targets is None:
        raise ArgumentError("The targets of the samples are not known.")
    if one.counts is not None:
        return np.arange(len(one.counts)), one.counts, np.zeros(len(one.counts), np.int64)
    if one.predicted is None or targets.ndim > 1:
        raise ArgumentError("There are too many classes to count every pair of them.")
    known = targets >= 0
    true, guess = targets[known].astype(np.int64), one.predicted[known]
    classes = np.arange(found.classes)
    if found.classes > MAX_COUNTED:
        classes = np.unique(np.concatenate([true, guess[guess >= 0]]))
    rows, wanted = np.searchsorted(classes, true), guess >= 0
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (rows[wanted], np.searchsorted(classes, guess[wanted])), 1)
    return classes, counts, np.bincount(rows[~wanted], minlength=len(classes))


MAX_COUNTED = 100


def confusion(found: RecordedPredictions, one: PredictedStep) -> pd.DataFrame:
    """Counts by target and predicted class; see `Predictions.confusion`."""
    import pandas as pd

    classes, counts, lost = counted(found, one)
    frame = pd.DataFrame(
        counts,
        index=pd.Index(classes, name="target"),
        columns=pd.Index(classes, name="predicted"),
    )
    if lost.any():
        frame["NaN"] = lost
    return frame


def scores(found: RecordedPredictions, one: PredictedStep) -> Floats:
    """One number [N] for each sample: how well it is predicted.

    The probability of the target; without targets that of the predicted class; of values the mean
    distance from the target, or without targets the mean output.
    """
    if found.kind == "regression":
        targets = found.samples.targets
        apart = one.values if targets is None else np.abs(one.values - targets)
        means: Floats = apart.mean(axis=1)
        return means
    return one.confidence if one.of_target is None else one.of_target


def worst(found: RecordedPredictions, one: PredictedStep, top: int) -> list[int]:
    """Positions of the worst predicted samples: NaN first, then the most confident errors.

    Those of classes are wrong ones only, those of values the largest errors.
    """
    targets, score = found.samples.targets, scores(found, one)
    if targets is None:
        return []
    if found.kind == "regression":
        order = np.argsort(-np.nan_to_num(score, nan=np.inf), kind="stable")
        return [int(i) for i in order[:top]]
    right = one.predicted == targets if one.right is None else one.right >= 1.0
    if targets.ndim == 1:
        right = right | (targets < 0)
    confidence = 1 - score if one.right is not None else one.confidence
    wrong = np.flatnonzero(~right)
    order = np.argsort(-np.nan_to_num(confidence[wrong], nan=np.inf), kind="stable")
    return [int(i) for i in wrong[order][:top]]


def errors(found: RecordedPredictions, one: PredictedStep, top: int) -> pd.DataFrame:
    """Rows of the worst samples; see `Predictions.errors`."""
    frame, rows = step_frame(found, one), worst(found, one, top)
    each = len(frame) // max(len(one.values), 1)
    return frame.iloc[[row * each + k for row in rows for k in range(each)]].reset_index(drop=True)


def quartiles(values: NDArray[Any]) -> NDArray[np.float64]:
    """Quartiles and median [3, ...] over the last axis, of what is finite; NaN without any."""
    known = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found: NDArray[np.float64] = np.nanquantile(known, (0.25, 0.5, 0.75), axis=-1)
    return found


def mean_score(found: RecordedPredictions, one: PredictedStep) -> str:
    """Sentence on one step: share of right predictions, or the mean error."""
    targets = found.samples.targets
    if targets is None:
        return "the targets are not known"
    if found.kind == "regression":
        apart = np.abs(one.values - targets)
        known = apart[np.isfinite(apart)]
        return f"mean absolute error {known.mean():.4g}" if len(known) else "no error is finite"
    if one.right is not None:
        share = one.right[np.isfinite(one.right)]
        return f"{share.mean():.1%} right" if len(share) else "no target is known"
    known = targets >= 0
    if one.predicted is None or not known.any():
        return "no target is known"
    right = (one.predicted == targets)[known]
    return f"{int(right.sum()):,} of {len(right):,} right ({right.mean():.1%})"
