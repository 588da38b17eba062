"""The process that writes a journal."""

from __future__ import annotations

import os
import socket
from typing import Any

import psutil


def owner() -> dict[str, Any]:
    """Which process writes a journal."""
    return {
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
        "host": socket.gethostname(),
    }
