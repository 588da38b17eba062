"""Identity of the process that writes a journal."""

from __future__ import annotations

import os
import socket
from typing import Any

import psutil


def journal_owner() -> dict[str, Any]:
    """Process id, start time and host of this process."""
    return {
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }
