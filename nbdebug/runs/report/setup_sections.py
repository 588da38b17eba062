"""Sections of a report on the setup: hyperparameters, model, data, environment, code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.html import (
    Markup,
    Section,
    code,
    details,
    escaped,
    format_count,
    format_value,
    pairs,
    remark,
    section,
    table,
)

MAX_UNFOLDED_LAYERS, MAX_UNFOLDED_CLASSES = 30, 20
SHOWN_HASH_LENGTH = 16
LAYER_HEADINGS = ("layer", "kind", "settings", "output shape", "parameters", "trainable")
DATA_HEADINGS = ("part", "shape", "dtype", "SHA-256", "samples by class")


def hyperparameters(run: RunRecord) -> Section:
    """Controls and other hyperparameters at the start."""
    return section("hyperparameters", "Hyperparameters at the start", pairs(run.parameters))


def model(run: RunRecord) -> Section:
    """Class, layers, number of parameters and hash of the initial weights."""
    about = run.bundle["model"]
    if not about:
        return section("model", "Model")
    facts = {
        "class": about.get("class"),
        "parameters": format_count(about.get("parameters")),
        "trainable": format_count(about.get("trainable")),
        "SHA-256 of the initial weights": _hash(about.get("initial_weights")),
    }
    rows = [
        (row.get("layer") or "(model)", row.get("kind"), row.get("settings"),
         _sizes(row.get("output_shape")), format_count(row.get("parameters")),
         format_count(row.get("trainable")))
        for row in about.get("layers") or ()
    ]  # fmt: skip
    layers: str = table(LAYER_HEADINGS, rows, numeric=LAYER_HEADINGS[4:], name="Layers")
    if len(rows) > MAX_UNFOLDED_LAYERS:
        layers = details(f"{len(rows):,} layers", layers)
    return section("model", "Model", pairs(facts), layers)


def data(run: RunRecord) -> Section:
    """Shape, dtype, hash and class counts of the data."""
    parts: list[str] = []
    for name, about in run.bundle["data"].items():
        if not about:
            parts.append(remark(f"No {name} data."))
            continue
        samples = about.get("samples")
        said = f"{format_count(samples)} samples" if samples is not None else "of unknown length"
        kind = escaped(format_value(about.get("kind")))
        parts.append(f'<h3>{escaped(name)} <span class="quiet">{kind}, {said}</span></h3>')
        rows = [_part(index, part) for index, part in enumerate(about.get("parts") or ())]
        parts.append(
            table(DATA_HEADINGS, rows, name=f"{name} data") or remark("The data was not read.")
        )
    return section("data", "Data", *parts)


def _sizes(shape: Sequence[Any] | None) -> str:
    return " x ".join(map(str, shape or ()))


def _part(index: int, part: Mapping[str, Any]) -> Sequence[Any]:
    shape = _sizes(part.get("shape")) or "scalar"
    counts = part.get("classes") or {}
    classes: str = escaped(
        ", ".join(f"{name}: {format_value(count)}" for name, count in counts.items())
    )
    if len(counts) > MAX_UNFOLDED_CLASSES:
        classes = details(f"{len(counts):,} classes", classes)
    return index, shape, part.get("dtype"), _hash(part.get("sha256")), Markup(classes)


def environment(run: RunRecord) -> Section:
    """Python, packages, machine, threads, seed and determinism flags."""
    about = dict(run.environment)
    packages = about.pop("packages", None) or {}
    recorded = {"nbdebug": run.bundle["run"].get("nbdebug")} if about else {}
    known = {name: value for name, value in (about | recorded).items() if value not in (None, "")}
    inner = details(f"{len(packages):,} packages", pairs(packages)) if packages else ""
    return section("environment", "Environment", pairs(known), inner)


def source(run: RunRecord) -> Section:
    """Source of model and loss, the executed cells, the state of git."""
    about = run.code
    parts = [_git(about.get("git") or {})]
    for name in ("model", "loss"):
        if about.get(name):
            parts.append(details(f"Source of the {name}", code(str(about[name]))))
    cells = about.get("cells") or ()
    if cells:
        inner = "".join(
            f'<p class="quiet">[{index}]</p>{code(str(cell))}'
            for index, cell in enumerate(cells, start=1)
        )
        parts.append(details(f"{len(cells):,} cells of the notebook", inner))
    return section("code", "Code", *parts)


def _git(about: Mapping[str, Any]) -> str:
    if not about:
        return remark("The folder of this run is not in a git repository.")
    diff = str(about.get("diff") or "")
    state = "with uncommitted changes" if diff else "nothing uncommitted"
    facts = {"git commit": about.get("commit"), "branch": about.get("branch"), "state": state}
    cut = remark("Truncated: the rest was not recorded.") if about.get("diff_cut") else ""
    return pairs(facts) + (details("Uncommitted changes", code(diff) + cut) if diff else "")


def _hash(value: Any) -> Markup:
    """The first digits of a hash, with the whole hash as tooltip."""
    text = str(value or "")
    return Markup(f'<code title="{escaped(text)}">{escaped(text[:SHOWN_HASH_LENGTH])}</code>')
