"""Runs scripts one after the other, each as if in a Python of its own that has no nbdebug.

A host process imports torch once and forks for every script: the fork begins with untouched
generators and modules, and it ends with the script.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

HOST = """
import os, runpy, sys, traceback
import numpy, torch, torch._dynamo
assert not any(name.split(".")[0] == "nbdebug" for name in sys.modules)
# To import it is an error from here on.
sys.modules["nbdebug"] = None

def run(path):
    folder = os.path.dirname(path)
    os.chdir(folder)
    errors = os.open(path + ".stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(errors, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv, sys.path[0] = [path], folder
    try:
        runpy.run_path(path, run_name="__main__")
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for line in iter(sys.stdin.readline, "\\n"):
    child = os.fork()
    if not child:
        code = run(line.rstrip("\\n"))
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class ScriptHost:
    """The process that forks; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            # Isolated: neither PYTHONPATH nor the folder of the tests is looked in.
            [sys.executable, "-I", "-c", HOST],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
        )

    def run(self, path: Path) -> str:
        """Run a script in its folder; what it complained of, "" when it came to its end."""
        _pipe(self._process.stdin).write(f"{path.resolve()}\n")
        _pipe(self._process.stdin).flush()
        if _pipe(self._process.stdout).readline() == "0\n":
            return ""
        return path.with_name(f"{path.name}.stderr").read_text() or "It ended without a word."

    def close(self) -> None:
        """End the host."""
        # Loader workers of other tests may hold the other end of the pipe open.
        _pipe(self._process.stdin).write("\n")
        _pipe(self._process.stdin).close()
        _pipe(self._process.stdout).close()
        self._process.wait(timeout=30)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
