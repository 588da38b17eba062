"""Meeting of the ranks of one training: which of them watch it, and whether they fit."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from nbdebug._version import __version__
from nbdebug.errors import ModelError
from nbdebug.training.ranks.link import DistributedLink

MEETING_SECONDS = 15
ANSWER_SECONDS = 10
ALONE = (
    "This process is one of {}, and not all of them call nbdebug.watch within {} seconds, as many "
    "times and on a model of the same parameters. It is watched alone: a change of one rank would "
    "let the ranks drift apart, so nothing can be changed. Call nbdebug.watch on each rank."
)
_meetings = itertools.count()


def ranks() -> int:
    """Number of processes that train together; 1 without torch.distributed."""
    if not (dist.is_available() and dist.is_initialized()):
        return 1
    return dist.get_world_size()


def rank() -> int:
    """Number of this process among them."""
    return dist.get_rank() if ranks() > 1 else 0


def meet(about: Mapping[str, Any]) -> DistributedLink | str:
    """Meet the other ranks; each calls this once for each training.

    Args:
        about: what must be equal on all ranks, as JSON values.

    Returns:
        The link to the others, or why this rank is alone.

    Raises:
        ModelError: another version of nbdebug runs on a rank.
    """
    prefix, number, size = f"nbdebug/{next(_meetings)}", rank(), ranks()
    seconds = MEETING_SECONDS
    alone = ALONE.format(size, seconds)
    if not dist.is_gloo_available():
        return f"{alone} Here torch has no gloo, which carries the commands."
    store = _own_store()
    known = json.dumps({"version": __version__, **about}, sort_keys=True)
    store.set(f"{prefix}/rank{number}", known)
    if number:
        together = _hear(store, prefix, seconds + ANSWER_SECONDS)
    else:
        together = _ask(store, prefix, size, known, seconds)
    if together == "together":
        return DistributedLink(store, _own_store(), prefix)
    if together.startswith("version"):
        raise ModelError(
            f"Ranks run other versions of nbdebug ({together[8:]}): install the same everywhere."
        )
    return alone


def _own_store() -> Any:
    """Another client of the store of the ranks: one that waits keeps nobody else from it."""
    torch: Any = dist
    store: Any = torch.distributed_c10d._get_default_store()
    while isinstance(store, torch.PrefixStore):
        store = store.underlying_store
    if isinstance(store, torch.TCPStore):
        return torch.TCPStore(store.host, store.port, is_master=False, wait_for_workers=False)
    return store


def _ask(store: Any, prefix: str, size: int, known: str, seconds: int) -> str:
    """Decide on rank 0, when all have said who they are or the time is over."""
    found = "together"
    try:
        keys = [f"{prefix}/rank{one}" for one in range(size)]
        store.wait(keys, timedelta(seconds=seconds))
        others = {store.get(key).decode() for key in keys}
        versions = sorted({json.loads(one)["version"] for one in others})
        if len(versions) > 1:
            found = f"version {', '.join(versions)}"
        elif others != {known}:
            found = "alone"
    except dist.DistStoreError:
        found = "alone"
    return _decided(store, prefix, found)


def _hear(store: Any, prefix: str, seconds: int) -> str:
    """Wait for what rank 0 decides; who waits too long decides for all that it is alone."""
    try:
        store.wait([f"{prefix}/decided"], timedelta(seconds=seconds))
    except dist.DistStoreError:
        return _decided(store, prefix, "alone")
    return str(store.get(f"{prefix}/decided").decode())


def _decided(store: Any, prefix: str, word: str) -> str:
    """The first decision, which holds for all ranks."""
    return str(store.compare_set(f"{prefix}/decided", "", word).decode())
