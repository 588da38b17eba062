"""What a run was made of, as parts of its report: settings, model, data, machine, code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nbdebug.runs.record.run_record import RunRecord
from nbdebug.runs.report.html import (
    Markup,
    Part,
    code,
    escaped,
    folded,
    pairs,
    quiet,
    section,
    table,
    whole,
    words,
)

MANY_LAYERS, MANY_CLASSES = 30, 20
SHORT_HASH = 16
LAYERS = ("layer", "kind", "settings", "parameters", "trainable")
PARTS = ("part", "shape", "dtype", "SHA-256", "samples by class")


def hyperparameters(run: RunRecord) -> Part:
    """Controls and other hyperparameters at the start."""
    return section("hyperparameters", "Hyperparameters at the start", pairs(run.parameters))


def model(run: RunRecord) -> Part:
    """Class, layers, number of parameters and hash of the initial weights."""
    about = run.bundle["model"]
    if not about:
        return section("model", "Model")
    facts = {
        "class": about.get("class"),
        "parameters": whole(about.get("parameters")),
        "trainable": whole(about.get("trainable")),
        "SHA-256 of the initial weights": _hash(about.get("initial_weights")),
    }
    rows = [
        (row.get("layer") or "(model)", row.get("kind"), row.get("settings"),
         whole(row.get("parameters")), whole(row.get("trainable")))
        for row in about.get("layers") or ()
    ]  # fmt: skip
    layers: str = table(LAYERS, rows, numeric=LAYERS[3:], name="Layers")
    if len(rows) > MANY_LAYERS:
        layers = folded(f"{len(rows):,} layers", layers)
    return section("model", "Model", pairs(facts), layers)


def data(run: RunRecord) -> Part:
    """By what the data is known again."""
    parts: list[str] = []
    for name, about in run.bundle["data"].items():
        if not about:
            parts.append(quiet(f"No {name} data."))
            continue
        samples = about.get("samples")
        said = f"{whole(samples)} samples" if samples is not None else "of unknown length"
        kind = escaped(words(about.get("kind")))
        parts.append(f'<h3>{escaped(name)} <span class="quiet">{kind}, {said}</span></h3>')
        rows = [_part(place, part) for place, part in enumerate(about.get("parts") or ())]
        parts.append(table(PARTS, rows, name=f"{name} data") or quiet("It was not read."))
    return section("data", "Data", *parts)


def _part(place: int, part: Mapping[str, Any]) -> Sequence[Any]:
    shape = " x ".join(str(size) for size in part.get("shape") or ()) or "scalar"
    counts = part.get("classes") or {}
    classes: str = escaped(", ".join(f"{name}: {words(count)}" for name, count in counts.items()))
    if len(counts) > MANY_CLASSES:
        classes = folded(f"{len(counts):,} classes", classes)
    return place, shape, part.get("dtype"), _hash(part.get("sha256")), Markup(classes)


def environment(run: RunRecord) -> Part:
    """Python, packages, machine, threads, seed and flags of determinism."""
    about = dict(run.environment)
    packages = about.pop("packages", None) or {}
    recorded = {"nbdebug": run.bundle["run"].get("nbdebug")} if about else {}
    known = {name: value for name, value in (about | recorded).items() if value not in (None, "")}
    inner = folded(f"{len(packages):,} packages", pairs(packages)) if packages else ""
    return section("environment", "Environment", pairs(known), inner)


def source(run: RunRecord) -> Part:
    """Sources of model and loss, the cells that were run, the state of git."""
    about = run.code
    parts = [_git(about.get("git") or {})]
    for name in ("model", "loss"):
        if about.get(name):
            parts.append(folded(f"Source of the {name}", code(str(about[name]))))
    cells = about.get("cells") or ()
    if cells:
        inner = "".join(
            f'<p class="quiet">[{place}]</p>{code(str(cell))}'
            for place, cell in enumerate(cells, start=1)
        )
        parts.append(folded(f"{len(cells):,} cells of the notebook", inner))
    return section("code", "Code", *parts)


def _git(about: Mapping[str, Any]) -> str:
    if not about:
        return quiet("The folder of this run was not under git.")
    diff = str(about.get("diff") or "")
    state = "with uncommitted changes" if diff else "nothing uncommitted"
    facts = {"git commit": about.get("commit"), "branch": about.get("branch"), "state": state}
    cut = quiet("It was longer: the rest was not recorded.") if about.get("diff_cut") else ""
    return pairs(facts) + (folded("Uncommitted changes", code(diff) + cut) if diff else "")


def _hash(value: Any) -> Markup:
    """The beginning of a hash; all of it is shown when it is pointed at."""
    text = str(value or "")
    return Markup(f'<code title="{escaped(text)}">{escaped(text[:SHORT_HASH])}</code>')
