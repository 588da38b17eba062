"""Messages on a socket: two lengths, JSON, raw bytes."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from typing import Any

from nbdebug.elsewhere.codec import Decoder, Encoder
from nbdebug.errors import LinkError

# Lengths of the JSON text and of all bytes; the text tells the length of each part of these.
HEAD = struct.Struct(">4sII")
MAGIC = b"nbd1"
MAX_JSON, MAX_BYTES = 2**28, 2**30
# Of a message of somebody who has not shown the token yet.
MAX_FIRST = 2**14


def pack(value: Any, lenient: bool = True) -> tuple[bytes, list[str]]:
    """Bytes of a message, and names of the classes that were replaced by a text.

    Raises:
        ArgumentError: an object cannot be sent, and the message is not lenient; or it is too large.
    """
    encoder = Encoder(lenient)
    body = encoder.encode(value)
    text = json.dumps([body, [len(part) for part in encoder.parts]], separators=(",", ":"))
    raw, head = text.encode("ascii"), b"".join(encoder.parts)
    if len(raw) > MAX_JSON or len(head) > MAX_BYTES:
        raise LinkError(f"A message of {(len(raw) + len(head)) / 2**20:,.0f} MiB is too large.")
    return b"".join((HEAD.pack(MAGIC, len(raw), len(head)), raw, head)), encoder.unsent


def unpack(text: bytes, raw: bytes) -> Any:
    """The value of a message.

    Raises:
        LinkError: it is no message of nbdebug.
    """
    try:
        body, lengths = json.loads(text)
        parts, place = [], 0
        for length in lengths:
            parts.append(raw[place : place + length])
            place += length
    except (ValueError, TypeError, RecursionError) as error:
        raise LinkError("A message is no message of nbdebug.") from error
    return Decoder(parts).decode(body)


def receive(sock: socket.socket, limit: int = MAX_JSON, idle: Callable[[], object] = bool) -> Any:
    """Wait for a message and return its value.

    Args:
        limit: of the JSON text, and of the bytes if it is smaller than that of bytes.
        idle: called whenever nothing came for the time-out of the socket; may raise.

    Raises:
        EOFError: the other side has closed the connection.
        LinkError: something else than a message came.
        OSError: the connection is broken.
    """
    magic, text, raw = HEAD.unpack(_exactly(sock, HEAD.size, idle))
    if magic != MAGIC:
        raise LinkError("Something else than nbdebug speaks there.")
    if text > limit or raw > (MAX_BYTES if limit == MAX_JSON else limit):
        raise LinkError("A message is too large.")
    return unpack(_exactly(sock, text, idle), _exactly(sock, raw, idle))


def _exactly(sock: socket.socket, count: int, idle: Callable[[], object]) -> bytes:
    """Exactly so many bytes."""
    found = bytearray(count)
    view, place = memoryview(found), 0
    while place < count:
        try:
            got = sock.recv_into(view[place:])
        except TimeoutError:
            idle()
            continue
        if not got:
            raise EOFError
        place += got
    return bytes(found)
