"""Notice of parts of a model whose state cannot be copied."""

from __future__ import annotations

from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.training.timeline.checkpoint import Checkpoint

TEXT = (
    "a value of this type may have a state, and cannot be copied. Rewind, replay, fork, checks and "
    "other looks at the training may move it and do not bring it back. Keep such a state in a "
    "tensor, a number, a list, a dict or a torch.Generator."
)


class UncopiedNotice:
    """Says once of each attribute of the model that it has a state which cannot be copied."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._told: set[str] = set()

    def tell(self, checkpoint: Checkpoint) -> None:
        """Tell of attributes that were not told of yet."""
        found = checkpoint.weights.attributes.uncopied
        new = [f"{place} ({kind})" for place, kind in found.items() if place not in self._told]
        self._told.update(found)
        if new:
            title, text = "A part of the model cannot be copied", f"{', '.join(new)}: {TEXT}"
            self._history.add_notice(Notice(checkpoint.step, "warning", title, text))
