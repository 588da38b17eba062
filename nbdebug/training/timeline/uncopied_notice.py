"""Notices of parts of a model or a dataset whose state cannot be copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbdebug.core.history.history import History
from nbdebug.core.records import Notice
from nbdebug.training.data.own_order import written_sampler
from nbdebug.training.data.passes.indexed_state import IndexedState
from nbdebug.training.data.samplers import moved_in_workers
from nbdebug.training.engine.session import Session
from nbdebug.training.timeline.checkpoint import Checkpoint
from nbdebug.training.timeline.disk.data import is_other_data

TEXT = (
    "a value of this type may have a state, and cannot be copied. Rewind, replay, fork, checks and "
    "other looks at the training may move it and do not bring it back. Keep such a state in a "
    "tensor, a number, a list, a dict or a torch.Generator."
)

MOVES_ON = (
    "an iterator that moves on cannot be put back. Rewind, replay, fork, checks and other looks "
    "at the training take values from it. Use a list and a number, or itertools.count()."
)
OTHER_DATA = (
    "train_data has the same number of samples as the saved training, and other values. Training "
    "goes on with the new ones; what was learned from the old ones stays in the weights."
)
WRITTEN_BATCHES = (
    "steps of the saved training wrote into its batches, and no file holds what they wrote. "
    "Training goes on with the batches as they are now: where these were made again, and steps do "
    "not write the same again, it differs from a training without a restart."
)
LATE = (
    "training writes into this large value, which was taken as data before. A rewind, a fork or a "
    "replay to an earlier step leaves it as it is then. Make it a tensor and a buffer "
    "of the model (register_buffer) and begin again to go back to every step."
)
NOT_RESUMED = (
    "what loss_fn and step_fn count there was not taken from the checkpoint: it has no form in a "
    "file, holds a password or key, or is of another type now. Training goes on with what is there."
)
DROPPED = (
    "the checkpoint has its state, and loss_fn, step_fn and metrics reach nothing of that name. "
    "Training goes on without it. If it is needed, resume with the names of the saved training."
)
FILLED = (
    "its functools cache cannot be copied. A check, a breakpoint, a rewind or another look filled "
    "it, and training goes on with what it holds, which may differ from a training without the "
    "look. Draw no random numbers in it and let it read nothing that changes, or empty it by "
    "cache_clear() before each step that needs new values."
)
WRITTEN = (
    "steps change what this sampler holds. The order of an epoch is drawn as a whole when it "
    "begins, so a change counts from the next epoch on, and the order may differ from that of a "
    "plain loop, where a sampler gives one index after the other. For changes that count at once "
    "use a loop of your own and nbdebug.watch."
)
UNKEPT = (
    "reading samples writes into this value, which is not copied: it has more than 32 MB or 2,000 "
    "parts, has a gradient, or is an object of a library. Looks at samples, such as predictions, "
    "a check or a replay, write into it too, and a rewind, a fork or a resume leaves it as it is. "
    "Keep it in smaller arrays, lists or numbers, or write into it in step_fn."
)
IN_WORKERS = (
    "each loader worker has its own copy of this value, and it moves while samples are read. A "
    "rewind, a fork or a resume starts workers with the value as it was at the beginning, so other "
    "samples may follow. Draw random numbers from torch, NumPy or random, which are seeded for "
    "each batch, or train with num_workers=0, where the value is restored."
)


class UncopiedNotice:
    """Says once of each value of the model or the dataset that it cannot be copied."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._told: set[str] = set()
        self._large: set[str] = set()

    def tell_of_data(self, session: Session) -> None:
        """Tell once of data that move in workers, of samplers that steps change and of caches."""
        written = written_sampler(session.sampler)
        if written and written not in self._told:
            self._told.add(written)
            title, text = "The sampler is changed by the steps", f"{written}: {WRITTEN}"
            self._history.add_notice(Notice(session.step - 1, "info", title, text))
        filled = session.surroundings.filled - self._told
        if filled:
            self._told |= filled
            text = f"{', '.join(sorted(filled))}: {FILLED}"
            self._history.add_notice(
                Notice(session.step - 1, "info", "A look filled a cache", text)
            )
        state = getattr(session.sampler, "state", None)
        large = state.unkept if isinstance(state, IndexedState) else ""
        if large and large not in self._told:
            self._told.add(large)
            title, text = "The dataset writes into what is not copied", f"{large}: {UNKEPT}"
            self._history.add_notice(Notice(session.step - 1, "warning", title, text))
        moved = moved_in_workers(session.sampler)
        if moved and IN_WORKERS not in self._told:
            self._told.add(IN_WORKERS)
            title, text = "The dataset changes in the loader workers", f"{moved}: {IN_WORKERS}"
            self._history.add_notice(Notice(session.step - 1, "warning", title, text))

    def tell(self, checkpoint: Checkpoint, session: Session) -> None:
        """Tell of what was not told of yet, unless nothing goes back anyway."""
        if session.together:
            return
        late = checkpoint.surroundings.large - self._large
        self._large |= late
        if late and not session.untried:  # Nothing comes late before the first step.
            title = "A large tensor or array is copied from now on"
            text = f"{', '.join(sorted(late))}: {LATE}"
            self._history.add_notice(Notice(checkpoint.step, "warning", title, text))
        found = checkpoint.weights.attributes.uncopied
        new = [f"{place} ({kind})" for place, kind in found.items() if place not in self._told]
        self._told.update(found)
        if new:
            title, text = "A part of the model cannot be copied", f"{', '.join(new)}: {TEXT}"
            self._history.add_notice(Notice(checkpoint.step, "warning", title, text))
        moving = checkpoint.surroundings.moving
        new = [f"{place} ({kind})" for place, kind in moving.items() if place not in self._told]
        self._told.update(moving)
        if new:
            title, text = "What the loss uses cannot be copied", f"{', '.join(new)}: {MOVES_ON}"
            self._history.add_notice(Notice(checkpoint.step, "warning", title, text))

    def tell_of_resumed(
        self, checkpoint: Checkpoint, file: Mapping[str, Any], session: Session
    ) -> None:
        """Tell of what a file has and a resumed training does not go on with."""
        if is_other_data(file, session):
            title = "The data are not those of the checkpoint"
            self._history.add_notice(Notice(checkpoint.step, "warning", title, OTHER_DATA))
        if file.get("written") is True:
            title = "The batches may not be those of the checkpoint"
            self._history.add_notice(Notice(checkpoint.step, "warning", title, WRITTEN_BATCHES))
        surroundings = checkpoint.surroundings
        for places, why in ((surroundings.left, NOT_RESUMED), (surroundings.dropped, DROPPED)):
            if places:
                title, text = "Not everything was resumed", f"{', '.join(places)}: {why}"
                self._history.add_notice(Notice(checkpoint.step, "warning", title, text))
