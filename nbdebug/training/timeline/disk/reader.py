"""Reading of checkpoint files, without executing code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from nbdebug.core.files.regular_files import NoFileError, check_regular
from nbdebug.core.records import Notice
from nbdebug.errors import ArgumentError, CheckpointError
from nbdebug.training.timeline.disk.paths import is_old_name, old_path_of, path_of, previous_of
from nbdebug.training.timeline.disk.seal import check_seal
from nbdebug.training.timeline.disk.structure import check_structure

FORMAT_VERSION, UNSEALED_VERSION = 2, 1


def read(name: str) -> tuple[dict[str, Any], tuple[Notice, ...]]:
    """Read the latest readable checkpoint of a training, and what the user should know about it.

    Raises:
        CheckpointError: there is no readable checkpoint.
    """
    if not isinstance(name, str) or not name:
        raise ArgumentError(f"resume needs the name of a training, a text; got {name!r:.80}.")
    reasons: list[str] = []
    for path in _candidates(name):
        try:
            data = _load(path, name)
        except FileNotFoundError:
            reasons.append(f"{path} does not exist")
        except Exception as error:
            first = str(error).split("\n", 1)[0]
            kind = (
                ""
                if isinstance(error, CheckpointError | NoFileError)
                else f"{type(error).__name__}: "
            )
            reasons.append(f"{path} cannot be read: {kind}{first[:300]}")
        else:
            return data, (*_passed_over(reasons, path, data), *_unsealed(path, data))
    raise CheckpointError(
        f"There is no checkpoint to resume {name!r:.80} from: {'; '.join(reasons)}. Checkpoints "
        'are written every minute and on close if the Debugger has a name: name="...".'
    )


def _candidates(name: str) -> list[Path]:
    """Files of a name, the newest first; files of older versions if there are no others."""
    path, old = path_of(name), old_path_of(name)
    found = [path, previous_of(path)]
    if any(one.exists() for one in found):
        return found
    if not any(one.exists() for one in (old, previous_of(old))):
        return found
    if not is_old_name(name):
        raise CheckpointError(
            f"{old} is of an older version of nbdebug, which gave several names the same file: "
            f"{name!r:.80} is one of them. If that checkpoint is this training's, rename the file "
            f"to {path.name}."
        )
    return [old, previous_of(old)]


def _load(path: Path, name: str) -> dict[str, Any]:
    check_regular(path)
    seal = check_seal(path)
    _check_sizes(path)
    data = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(data, dict) or "counters" not in data:
        raise CheckpointError("the file is no checkpoint of nbdebug")
    version = data.get("format")
    if version not in (FORMAT_VERSION, UNSEALED_VERSION) or isinstance(version, bool | float):
        raise CheckpointError(f"the format is {version!r:.40}, not {FORMAT_VERSION}")
    if version == FORMAT_VERSION and seal is None:
        raise CheckpointError("its checksum is missing: the file is cut off or was changed")
    if version == FORMAT_VERSION and data.get("name") != name:
        raise CheckpointError(f"the file is of the training {data.get('name')!r:.80}")
    check_structure(data)
    if seal is not None and seal.step != data["counters"]["step"]:
        raise CheckpointError("its checksum is of another step")
    return data


def _check_sizes(path: Path) -> None:
    """Refuse an archive that would become larger in memory than it is on disk."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise CheckpointError("the file is no checkpoint of nbdebug: its parts are compressed")


def _passed_over(reasons: list[str], path: Path, data: dict[str, Any]) -> tuple[Notice, ...]:
    if not reasons:
        return ()
    step = data["counters"]["step"]
    text = (
        f"{'; '.join(reasons)}. Training continues from {path}, the one before it: step {step:,}."
    )
    return (Notice(step, "warning", "An older checkpoint", text),)


def _unsealed(path: Path, data: dict[str, Any]) -> tuple[Notice, ...]:
    if data["format"] != UNSEALED_VERSION:
        return ()
    text = (
        f"{path} is of an older version of nbdebug, without checksum and without the name of its "
        "training: that it is this one, undamaged, is taken from the name of the file."
    )
    return (Notice(data["counters"]["step"], "info", "A checkpoint of an older version", text),)
