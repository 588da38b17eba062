"""First contact with a store on a server, and conditions of its search."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from nbdebug.errors import RunStoreError
from nbdebug.runs.store.row import KEY_TAG

ANSWER_SECONDS = 2.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


def check_answer(uri: str) -> None:
    """Check that a server takes connections; MLflow would try for minutes without a word.

    Raises:
        RunStoreError: it does not answer within 2 s.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    try:
        host, port = parts.hostname, parts.port or PORTS.get(scheme)
    except ValueError as error:
        raise RunStoreError(f"{uri} is no address of a server: {error}.") from error
    if not host or port is None or (scheme in getproxies() and not proxy_bypass(host)):
        return
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise RunStoreError(
            f"{_public(uri)} could not be opened: {host} does not answer on port {port} "
            f"({error.strerror or error}). nbdebug will try again"
        ) from error


def conditions(which: str | None) -> list[str]:
    """Conditions of MLflow's search, from the narrowest on; "" is every run."""
    if which is None:
        return [""]
    quote = "'" if "'" not in which else '"'
    if quote in which:
        return [""]
    names = ("attributes.run_id", f"tags.`{KEY_TAG}`", "attributes.run_name")
    return [*(f"{name} = {quote}{which}{quote}" for name in names), ""]


def family_condition(key: str) -> str:
    """Condition of all runs whose key begins so; `_` in it stands for any character."""
    return f"tags.`{KEY_TAG}` LIKE '{key}%'"


def _public(uri: str) -> str:
    """Address without user and password."""
    scheme, _, rest = uri.partition("://")
    head, slash, tail = rest.partition("/")
    return f"{scheme}://{head.rpartition('@')[2]}{slash}{tail}"
