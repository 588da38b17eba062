"""Serving of a training to the dashboards of other processes, if that is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from nbdebug.core.contexts import contextmanager
from nbdebug.debugger.assembly import Parts
from nbdebug.debugger.record import record_data
from nbdebug.elsewhere.listener import Listener, Serve, listen
from nbdebug.elsewhere.served import Served
from nbdebug.elsewhere.server import Server


@contextmanager
def opened(serve: Serve) -> Iterator[Listener | None]:
    """Open the socket before the training is built: a port that is taken ends nothing.

    The socket is closed if the training cannot be built.

    Raises:
        ArgumentError, OutputError: there can be no such socket.
    """
    listener = listen(serve)
    try:
        yield listener
    except BaseException:
        if listener is not None:
            listener.close()
        raise


def serve(parts: Parts, listener: Listener | None) -> Server | None:
    """Let dashboards attach to a training; None without a socket."""
    if listener is None:
        return None
    client, training = parts.new_client(), parts.training
    recorder = parts.recorder
    store = None if recorder is None else (recorder.location, recorder.key)
    served = Served(
        parts.name,
        parts.history,
        client.put,
        parts.validator.controls,
        parts.queue.new_call,
        training.controls.states,
        training.diagnosis.look_when_due,
        {"findings": parts.judge, "record": lambda: record_data(parts)},
        {"store": store},
    )
    return Server(served, listener)
