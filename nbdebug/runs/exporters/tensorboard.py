"""Export of a run as TensorBoard event files."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nbdebug._version import install_line
from nbdebug.core.files.private_files import private_folder
from nbdebug.core.records import Array
from nbdebug.core.series import Series
from nbdebug.errors import MissingPackageError
from nbdebug.runs.exporters.base import Exporter
from nbdebug.runs.record.atomic_write import atomic_write
from nbdebug.runs.record.headline import metric_names
from nbdebug.runs.record.json_values import to_float

if TYPE_CHECKING:
    import pandas as pd

    from nbdebug.runs.record.run_record import RunRecord

INSTALL_HINT = f"Event files need TensorBoard ({{}}): {install_line('tensorboard')}"
TABLES = {
    "changes": ("step", "control", "old", "new", "who", "why", "status", "note"),
    "notes": ("step", "text"),
    "findings": ("since", "until", "severity", "title", "seen", "because"),
}
# Characters with a meaning in Markdown.
ESCAPES = str.maketrans({c: f"\\{c}" for c in "\\`*_[]|"} | {"<": "&lt;", "&": "&amp;", "\n": " "})


class TensorboardFiles(Exporter):
    """A folder to open with `tensorboard --logdir`.

    Scalars: every series under its own name, the mean of each bucket at its step, in single
    precision. The wall time begins with the run and advances by `step_ms`, without pauses.
    Text: control changes, notes and findings as the tables `changes`, `notes`, `findings`.
    HPARAMS: the controls and other hyperparameters at the start, with loss and metrics.

    TensorBoard names a run after its folder: use one folder per run, as in
    `run.export("tensorboard/first", "tensorboard")`. A second export of a run replaces the first.
    """

    name: ClassVar[str] = "tensorboard"

    def export(self, run: RunRecord, path: Path) -> Path:
        try:
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise MissingPackageError(INSTALL_HINT.format(error)) from error
        about = run.bundle["run"]
        run_hash = zlib.crc32(str(about.get("key") or about.get("started", "")).encode())
        target = path / f"events.out.tfevents.{_started(run):.0f}.nbdebug-{run_hash:08x}"
        private_folder(path)
        others = [one.name for one in path.glob("*tfevents*") if one != target]
        if others:
            raise FileExistsError(
                f"{path} holds other events ({others[0]}), and TensorBoard would mix them with "
                "those of this run: name a folder of its own."
            )
        with atomic_write(target) as beside, beside.open("wb") as file:
            writer = RecordWriter(file)
            for event in _events(run):
                writer.write(event.SerializeToString())
        return path


def _events(run: RunRecord) -> Iterator[Any]:
    from tensorboard.compat.proto.event_pb2 import Event

    start = _started(run)
    yield Event(wall_time=start, file_version="brain.Event:2")
    yield Event(wall_time=start, summary=_parameters(run))
    yield from _scalars(run.bundle.series, start)
    for tag, columns in TABLES.items():
        rows = getattr(run, tag)
        if len(rows):
            text = _text(tag, rows, columns)
            yield Event(wall_time=_ended(run), step=run.steps, summary=text)
    yield Event(wall_time=_ended(run), summary=_hparams_end(run))


def _scalars(series: Mapping[str, Series], start: float) -> Iterator[Any]:
    """One event per step with all values measured at it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    parts = [one for one in series.values() if len(one)]
    if not parts:
        return
    names = [one.name for one in parts]
    steps = np.concatenate([one.step for one in parts])
    order = np.argsort(steps, kind="stable")
    tags = np.repeat(np.arange(len(parts)), [len(one) for one in parts])[order].tolist()
    with np.errstate(over="ignore"):
        # Values too large for single precision become Inf.
        values = np.concatenate([one.mean for one in parts])[order].astype(np.float32).tolist()
    found, firsts = np.unique(steps[order], return_index=True)
    times = (start + _elapsed(series.get("step_ms"), found)).tolist()
    ends = [*firsts[1:].tolist(), len(tags)]
    for step, time, first, end in zip(found.tolist(), times, firsts.tolist(), ends, strict=True):
        scalars = [
            Summary.Value(tag=names[tags[i]], simple_value=values[i]) for i in range(first, end)
        ]
        yield Event(wall_time=time, step=step, summary=Summary(value=scalars))


def _elapsed(step_ms: Series | None, steps: NDArray[np.int64]) -> Array:
    """Seconds of training up to the end of each of these steps; zeros if not known."""
    if step_ms is None or not len(step_ms):
        return np.zeros(len(steps))
    lengths = np.diff(step_ms.step, prepend=-1)
    ends = np.cumsum(lengths * np.nan_to_num(step_ms.mean, posinf=0.0, neginf=0.0)) / 1000
    marks = np.append(0, step_ms.step + 1)
    seconds: Array = np.interp(steps + 1, marks, np.append(0.0, ends))
    return seconds


def _text(tag: str, rows: pd.DataFrame, columns: tuple[str, ...]) -> Any:
    """A table as one text, since TensorBoard shows only some texts of a tag."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    lines = [columns, ("---",) * len(columns)]
    lines += [tuple(_cell(value) for value in row) for row in rows[list(columns)].to_numpy()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    tensor = TensorProto(
        dtype=DT_STRING, tensor_shape=TensorShapeProto(), string_val=[table.encode()]
    )
    about = create_summary_metadata(display_name=tag, description="")
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=about)])


def _cell(value: Any) -> str:
    if value is None or value != value:
        return ""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return " ".join(str(int(value) if whole else value).split()).translate(ESCAPES)


def _parameters(run: RunRecord) -> Any:
    """Hyperparameters and metrics, and the values of this run, for the HPARAMS tab."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2 as api
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    kinds = []
    start = plugin_data_pb2.SessionStartInfo(
        group_name=run.id or run.name, start_time_secs=_started(run)
    )
    for name, value in run.parameters.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value, kind = value, api.DATA_TYPE_BOOL
        elif isinstance(value, int | float):
            start.hparams[name].number_value, kind = value, api.DATA_TYPE_FLOAT64
        else:
            start.hparams[name].string_value, kind = str(value), api.DATA_TYPE_STRING
        kinds.append(api.HParamInfo(name=name, type=kind))
    wanted = metric_names(run.series, run.bundle["run"].get("metrics", ()))
    metrics = [api.MetricInfo(name=api.MetricName(tag=tag)) for tag in wanted]
    experiment = api.Experiment(
        hparam_infos=kinds, metric_infos=metrics, time_created_secs=_started(run)
    )
    return Summary(value=[
        _hparams_value(metadata.EXPERIMENT_TAG, experiment=experiment),
        _hparams_value(metadata.SESSION_START_INFO_TAG, session_start_info=start),
    ])  # fmt: skip


def _hparams_end(run: RunRecord) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2 as api
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    status = {"finished": api.STATUS_SUCCESS, "running": api.STATUS_RUNNING}
    info = plugin_data_pb2.SessionEndInfo(
        status=status.get(run.status, api.STATUS_FAILURE),
        end_time_secs=_ended(run),
    )
    return Summary(value=[_hparams_value(metadata.SESSION_END_INFO_TAG, session_end_info=info)])


def _hparams_value(tag: str, **info: Any) -> Any:
    """HPARAMS value; TensorBoard's own functions for it need TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    about = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**info))
    return Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)


def _started(run: RunRecord) -> float:
    return to_float(run.bundle["run"].get("started", 0.0))


def _ended(run: RunRecord) -> float:
    trained = _elapsed(run.bundle.series.get("step_ms"), np.array([run.steps]))
    return _started(run) + max(run.seconds, float(trained[0]))
