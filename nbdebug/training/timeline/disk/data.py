"""Digest of the data that a checkpoint is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nbdebug.model.state.digest import tensors_digest
from nbdebug.training.data.loops.written_batches import BatchCopies
from nbdebug.training.engine.session import Session


def data_to_plain(session: Session) -> dict[str, str]:
    """Digest of the tensors that training reads; nothing of other data, which are not read."""
    tensors = _tensors(session.source)
    return {"data": tensors_digest(tensors)} if tensors else {}


def is_other_data(plain: Mapping[str, Any], session: Session) -> bool:
    """True if a checkpoint names other tensors than the session has."""
    return "data" in plain and plain["data"] != data_to_plain(session).get("data")


def _tensors(source: Any) -> list[torch.Tensor]:
    found = getattr(source, "tensors", None)
    held = getattr(getattr(source, "dataset", None), "tensors", ()) if found is None else found
    return [one for one in held if isinstance(one, torch.Tensor)]


def writes_to_plain(batches: BatchCopies, session: Session) -> dict[str, bool]:
    """A mark that steps wrote into batches, which no file holds; nothing where they did not."""
    wrote = any(batches) and session.source.kept and session.source.workers is None
    return {"written": True} if wrote else {}
