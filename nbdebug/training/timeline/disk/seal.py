"""Checksum at the end of a file: a changed bit, a cut or an addition anywhere is found."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch

from nbdebug.core.files.regular_files import open_regular
from nbdebug.errors import CheckpointError

SEAL = "\nnbdebug step {step:020d} sha256 {digest}\n"
SEAL_PATTERN = re.compile(rb"\nnbdebug step (\d{20}) sha256 ([0-9a-f]{64})\n\Z")
SEAL_BYTES = len(SEAL.format(step=0, digest="0" * 64))
CHUNK_BYTES = 2**20


class Seal(NamedTuple):
    """Step and checksum of a file."""

    step: int
    digest: str


class _HashedFile:
    """File that sums up what is written."""

    def __init__(self, file: BinaryIO, digest: Any) -> None:
        self._file, self._digest = file, digest

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def write_sealed(file: BinaryIO, data: Any, step: int) -> Seal:
    """Write a file of torch, with the checksum of everything, step included, at its end."""
    digest = _digest_of(step)
    torch.save(data, _HashedFile(file, digest))  # type: ignore[arg-type]
    seal = Seal(step, digest.hexdigest())
    file.write(SEAL.format(step=step, digest=seal.digest).encode())
    return seal


def seal_of(path: Path) -> Seal | None:
    """Read the seal of a file; None without a file or without a seal."""
    try:
        with open_regular(path) as file:
            file.seek(max(os.fstat(file.fileno()).st_size - SEAL_BYTES, 0))
            found = SEAL_PATTERN.fullmatch(file.read())
    except OSError:
        return None
    return found and Seal(int(found[1]), found[2].decode())


def check_seal(path: Path) -> Seal | None:
    """Compare a file with its seal; None if it has none.

    Raises:
        CheckpointError: the file was changed after it was written.
    """
    seal = seal_of(path)
    if seal is None:
        return None
    digest, left = _digest_of(seal.step), path.stat().st_size - SEAL_BYTES
    with open_regular(path) as file:
        while left > 0 and (chunk := file.read(min(left, CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
    if digest.hexdigest() != seal.digest:
        raise CheckpointError("its checksum does not match: the file is damaged")
    return seal


def _digest_of(step: int) -> Any:
    return hashlib.sha256(f"{step:020d}".encode())
