"""Model summary from one forward pass, which is undone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torchinfo

from nbdebug.core.results.model_summary import LayerSummary, ModelSummary
from nbdebug.errors import ModelError
from nbdebug.model.module.forward import split
from nbdebug.training.engine.session import Session
from nbdebug.training.engine.state_guard import StateGuard
from nbdebug.training.tasks.checking.check_data import some_batches

MAX_DEPTH = 100
TORCHINFO_COLUMNS = ("output_size", "num_params", "params_percent", "trainable")


def summarize(session: Session) -> ModelSummary:
    """Run one training batch through the model in eval mode and list its modules.

    Raises:
        ModelError: the inputs of the model are unknown (`step_fn`), or the forward pass fails.
    """
    if session.step_fn is not None:
        raise ModelError(
            "With a step_fn, or a loop of its own, the inputs of the model are unknown: no summary."
        )
    guard = StateGuard(session)
    try:
        batch = next(iter(some_batches(session)))
        with session.rng:
            found = torchinfo.summary(
                session.model, input_data=split(batch)[0], mode="eval", verbose=0, depth=MAX_DEPTH,
                device=session.device, col_names=TORCHINFO_COLUMNS,
                row_settings=("var_names", "depth"),
            )  # fmt: skip
    except (RuntimeError, TypeError, AttributeError) as error:
        # torchinfo asks for what compiled modules do not have.
        reason = error.__cause__ or error
        raise ModelError(
            f"The model could not be run on a training batch: {reason} "
            "dbg.check('shapes') names the layer."
        ) from error
    finally:
        guard.restore()
    return ModelSummary(tuple(_rows(found.summary_list)), str(found))


def _rows(infos: list[Any]) -> Iterator[LayerSummary]:
    path: list[str] = []
    for info in infos:
        path[info.depth - 1 :] = [info.var_name] if info.depth else []
        shape = info.output_size if info.executed else ()
        yield LayerSummary(
            layer=".".join(path),
            kind=info.class_name,
            depth=info.depth,
            output_shape=tuple(shape or ()),
            parameters=info.num_params,
            trainable=info.trainable_params,
        )
