"""Names of checkpoint files: one for each name of a training."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

CHECKPOINT_FOLDER = "nbdebug-checkpoints"
MAX_READABLE, HASH_DIGITS = 40, 16


def path_of(name: str) -> Path:
    """Path of the checkpoint file of a training: readable characters and a hash of the name.

    Names that differ in case, punctuation, alphabet or Unicode normalisation have files of their
    own, on all file systems.
    """
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:MAX_READABLE] or "training"
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_DIGITS]
    return Path(CHECKPOINT_FOLDER) / f"{readable}-{digest}.pt"


def old_path_of(name: str) -> Path:
    """Path of the file that versions before 0.2 wrote, which several names may share."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".") or "training"
    return Path(CHECKPOINT_FOLDER) / f"{stem}.pt"


def is_old_name(name: str) -> bool:
    """Tell if the old file of a name is named exactly like the training."""
    return old_path_of(name).stem == name and not name.endswith(".previous")


def previous_of(path: Path) -> Path:
    """Path of the second to last checkpoint."""
    return path.with_suffix(".previous.pt")
