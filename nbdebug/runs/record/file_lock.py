"""Lock of the operating system: the end of a process frees it, however it ends."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from nbdebug.core.files.private_files import open_private
from nbdebug.core.forked import when_forked

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

RETRY_SECONDS = 0.02
BUSY = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK)


class FileLock:
    """Exclusive lock between processes, also between two locks in one process.

    Not a class of the package filelock: the core install does without, and a lock must not stay
    in a forked child, where it would outlive its process.

    Args:
        path: of the lock file, which is created for the lock and removed with it.
        lasting: held for long, so that processes may be forked meanwhile.
    """

    def __init__(self, path: Path, lasting: bool = False) -> None:
        self.path, self._lasting = path, lasting
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """True while this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, timeout: float = 0.0) -> bool:
        """Take the lock; False if another holder keeps it for `timeout` seconds.

        Raises:
            OSError: the file cannot be opened, or its file system knows no locks.
        """
        end = time.monotonic() + timeout
        while not self._try():
            if time.monotonic() >= end:
                return False
            time.sleep(RETRY_SECONDS)
        if self._lasting:
            when_forked(self, FileLock.leave)
        return True

    def release(self, remove: bool = True) -> None:
        """Free the lock and remove its file. May be called twice, and in a forked child."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if remove and sys.platform != "win32":
            # Before it is free: whoever opened this file finds another one, or none, at its path.
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
        with suppress(OSError):
            _unlock(descriptor)
        os.close(descriptor)
        if remove and sys.platform == "win32":
            # An open file cannot be removed; where another process has it open, it removes it.
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Let go in a forked child; the parent keeps the lock."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _try(self) -> bool:
        descriptor = open_private(self.path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), os.stat(self.path)):
                self._descriptor = descriptor
                return True
        except FileNotFoundError:
            pass  # Its last holder has removed the file.
        except OSError as error:
            if error.errno not in BUSY:
                os.close(descriptor)
                raise
        os.close(descriptor)
        return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    # Not lockf: such a lock is lost when the process closes any other descriptor of the file.
    # On NFS, Linux turns it into a lock of the server.

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
