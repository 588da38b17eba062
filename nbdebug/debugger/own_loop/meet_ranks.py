"""Meeting of the ranks of a loop of the user's own, before it is watched."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import Any

from nbdebug.core.records import Notice
from nbdebug.training.engine.setup import Setup
from nbdebug.training.ranks.meeting import meet, rank, ranks

TOGETHER = (
    "Several ranks train together, and a step is made by all of them: nothing is rewound, forked "
    "or replayed, and checks do not run."
)
UNAVAILABLE = {
    "frozen": "several ranks train together, which wait for the gradients of all parameters.",
    "reinit": "several ranks train together, and each would draw other weights.",
}
log = logging.getLogger("nbdebug")


def met(setup: Setup) -> tuple[Setup, tuple[Notice, ...]]:
    """Meet the other ranks of a loop of the user's own, if there are any.

    Returns:
        The setup of this rank, and what is to be said of it. Rank 0 alone is recorded and served.
    """
    size = ranks()
    if size == 1:
        return setup, ()
    link = meet({"parameters": _shapes(setup.model)})
    body, number = setup.train_data.body, rank()
    body.state.together, body.updates.together = TOGETHER, True
    body.unavailable = {**body.unavailable, **UNAVAILABLE}
    setup = replace(setup, link=link)
    if number:
        name = None if setup.name is None else f"{setup.name} rank {number}"
        setup = replace(setup, name=name, runs=None, serve=False)
    if isinstance(link, str):
        log.warning("nbdebug: %s", link)
        return setup, (Notice(0, "warning", "This rank is watched alone", link),)
    text = (
        f"This is rank {number}. A control that rank 0 sets is in force on all from the same step "
        f"on. The batch size is that of one rank: {size} times as many samples make a step. "
        + TOGETHER
    )
    return setup, (Notice(0, "info", f"{size} ranks train together", text),)


def _shapes(model: Any) -> str:
    found = [f"{name} {tuple(p.shape)} {p.dtype}" for name, p in model.named_parameters()]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()
