"""Finding trainings of other processes, and attaching to them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from nbdebug.debugger.attached.attached import Attached
from nbdebug.debugger.run_name import caller_name
from nbdebug.elsewhere.link import Link
from nbdebug.elsewhere.registry import entries, find

if TYPE_CHECKING:
    import pandas as pd


def attach(
    name: str | None = None, *, process: int | None = None, who: str | None = None
) -> Attached:
    """Attach to a training in another process of this machine, which listens.

    A script listens with `serve=True`, or if NBDEBUG_SERVE=1 is set. Several may attach to one
    training; one steers, the first that gives a command, and the others look.

    Args:
        name: of the training; None is the only one that listens.
        process: id of its process, where several have the name.
        who: name that the others see; None is that of the notebook or script.

    Raises:
        LinkError: there is none, it does not answer, or it runs another version of nbdebug.
        ArgumentError: there are several.
    """
    return Attached(Link(find(name, process), who or caller_name()))


def attachable() -> pd.DataFrame:
    """Trainings of this user that listen on this machine, the newest first, one row each.

    The columns are name, process, started and version (of nbdebug).
    """
    import pandas as pd

    rows = [
        (one.name, one.process, datetime.fromtimestamp(one.started), one.version)
        for one in entries()
    ]
    return pd.DataFrame(rows, columns=["name", "process", "started", "version"])
