"""The two files of a script: the program, and the values that it loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nbdebug.core.files.output_files import output
from nbdebug.runs.record.atomic_write import atomic_write


def write_files(path: Path, program: str, values: Mapping[str, Any]) -> None:
    """Write the program, and beside it the `.pt` file with its values; both are complete first.

    Raises:
        OutputError: one of them cannot be written.
    """
    with (
        output(path.with_suffix(".pt")) as data,
        atomic_write(data) as saved,
        atomic_write(path) as beside,
        saved.open("wb") as opened,
    ):
        torch.save(values, opened)
        beside.write_text(program, encoding="utf-8")
