from __future__ import annotations

import functools
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Packages beside those of nbdebug.
NEEDS = {"09_hugging_face": ("transformers", "accelerate")}


def executed(stem: str) -> pytest.MarkDecorator:
    """Tests of one notebook share its execution, so one process runs them."""
    return pytest.mark.xdist_group(f"notebook {stem}")


EACH = pytest.mark.parametrize(
    "path", [pytest.param(path, marks=executed(path.stem), id=path.stem) for path in NOTEBOOKS]
)


def outputs(notebook: nbformat.NotebookNode, cell: str) -> list[nbformat.NotebookNode]:
    """Outputs of the cell with this id."""
    return next(c.outputs for c in notebook.cells if c.id == cell)


def printed(notebook: nbformat.NotebookNode, cell: str) -> str:
    """Everything that a cell printed, and its result as text."""
    return "".join(
        str(output.get("text") or output["data"]["text/plain"])
        for output in outputs(notebook, cell)
    )


def numbers(text: str, after: str) -> list[float]:
    """Numbers that follow a word."""
    return [float(found) for found in re.findall(rf"{re.escape(after)}(\d+(?:\.\d+)?)", text)]


@pytest.fixture(autouse=True)
def own_jupyter(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's own Jupyter settings comes in, nothing is left there."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    # Recorded as for every user, but not beside the notebooks.
    monkeypatch.setenv("NBDEBUG_RUNS", str(place))


def _skip_without_packages(path: Path) -> None:
    """Skip a notebook that says itself which package it needs beside nbdebug."""
    for package in NEEDS.get(path.stem, ()):
        pytest.importorskip(package, reason=f"{path.stem} needs {package}, as its text says")


@functools.cache
def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs; nobody changes it, so once is enough."""
    notebook = nbformat.read(path, as_version=4)
    # A kernel that imports torch beside other tests can take more than the usual 60 seconds.
    client = NotebookClient(
        notebook,
        timeout=300,
        startup_timeout=300,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    return client.execute()


@pytest.mark.slow
@EACH
def test_runs_from_top_to_bottom(path: Path) -> None:
    _skip_without_packages(path)
    notebook = execute(path)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.execution_count for cell in code)
    noise = [
        output.text
        for cell in code
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert noise == []


@EACH
def test_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)

    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count] == []


@pytest.mark.slow
@executed("01_quickstart")
def test_the_quickstart_shows_dashboard_change_and_numbers() -> None:
    notebook = execute(FOLDER / "01_quickstart.ipynb")

    dashboard, still = outputs(notebook, "dashboard")
    assert "application/vnd.jupyter.widget-view+json" in dashboard.data
    assert "at step" in still.data["text/html"]
    (undone,) = outputs(notebook, "set")
    assert "Taken back: Learning rate 0.001 -> 0.03" in undone.data["text/plain"]
    (found,) = outputs(notebook, "findings")
    assert "Nothing looks sick" in found.data["text/plain"]
    (changes,) = outputs(notebook, "changes")
    assert "finer steps" in changes.data["text/plain"]
    (numbers,) = outputs(notebook, "history")
    assert "val_accuracy" in numbers.data["text/plain"]
    assert "<table" in numbers.data["text/html"]


@EACH
def test_ends_in_what_was_seen_and_what_comes_next(path: Path) -> None:
    last = nbformat.read(path, as_version=4).cells[-1]

    assert last.cell_type == "markdown"
    seen = last.source.partition("## What you saw\n")[2]
    assert len(re.findall(r"(?m)^- ", seen)) == 3
    links = re.findall(r"\]\((\w+\.ipynb)\)", seen)
    after = NOTEBOOKS[(NOTEBOOKS.index(path) + 1) % len(NOTEBOOKS)]
    assert links == [after.name]


@pytest.mark.slow
@executed("02_gradient_clipping")
def test_clipping_saves_a_training_and_scaling_removes_the_cause() -> None:
    notebook = execute(FOLDER / "02_gradient_clipping.ipynb")

    assert "The loss is inf" in printed(notebook, "explodes")
    clipped, scaled = printed(notebook, "run"), printed(notebook, "scaling")
    assert "clipped: 100% of the steps" in clipped
    assert "Almost every gradient is clipped" in clipped
    early, late = numbers(clipped, "epochs: ")
    early_scaled, late_scaled = numbers(scaled, "epochs: ")
    assert early < early_scaled
    assert late_scaled < late
    assert "findings: 0" in scaled
    spikes = printed(notebook, "gru-run")
    [usual], [largest], [share] = (
        numbers(spikes, name) for name in ("norm ", "largest ", "clipped: ")
    )
    assert largest > 5 * usual
    assert 5 <= share <= 15


@pytest.mark.slow
@executed("03_dropout_and_batchnorm")
def test_the_order_of_layers_decides_and_new_statistics_do_not() -> None:
    notebook = execute(FOLDER / "03_dropout_and_batchnorm.ipynb")

    built = printed(notebook, "as-built")
    [trained], [validated] = numbers(built, "training loss "), numbers(built, "validation loss ")
    assert validated > 1.5 * trained
    statistics = printed(notebook, "statistics")
    assert max(numbers(statistics, "accuracy: ") + numbers(statistics, "statistics ")) < 35
    assert min(numbers(printed(notebook, "reorder"), "later: ")) > 50
    base, reordered = printed(notebook, "fair").splitlines()[1:3]
    assert "Dropout before BatchNorm" in base
    assert float(reordered.split(" | ")[-1]) < 0.5 * float(base.split(" | ")[-1])


@pytest.mark.slow
@executed("04_checklist")
def test_the_checklist_finds_six_faults_one_after_the_other() -> None:
    notebook = execute(FOLDER / "04_checklist.ipynb")

    def first(cell: str) -> str:
        return str(outputs(notebook, cell)[0].text).splitlines()[0].split(":")[0]

    assert [first(cell) for cell in ("sick", "two", "three", "four", "five", "seven")] == [
        "Output activation and loss",
        "Different initial weights",
        "Mean over the batch",
        "Gradients reach every parameter",
        "Scale of the inputs",
        "Overfits a few examples",
    ]
    assert outputs(notebook, "six") == []
    tables = [
        cell.id
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "3. Look inside the layers" in str(output)
    ]
    assert tables == ["healthy-check"]
    said = "".join(output.text for output in outputs(notebook, "mended"))
    assert "1 passed" in said
    assert float(said.rsplit(" ", 1)[1]) < 0.5


@pytest.mark.slow
@executed("06_time_travel")
def test_time_travel_finds_the_step_and_ends_in_the_same_weights() -> None:
    notebook = execute(FOLDER / "06_time_travel.ipynb")

    def said(cell: str) -> str:
        return str(outputs(notebook, cell)[0]["data"]["text/plain"])

    assert said("break").startswith("('Break: grad_norm > 15 and step > 10', 15")
    assert said("break").endswith("152)")
    assert said("rewind") == "Back at the checkpoint of step 150."
    base, low, kept, high = (row.split(" | ") for row in said("fork").splitlines()[1:])
    names = [row[0].strip(" |") for row in (base, low, kept, high)]
    assert names == ["no change", "lr=0.02", "lr=0.1", "lr=0.9"]
    assert kept[1] == "no clear difference"
    assert float(kept[-1]) < min(float(row[-1]) for row in (base, low, high))
    assert said("nothing") == "0.0"
    assert "bit-identical at the end" in said("replay")
    assert said("run-script") == "True"


@pytest.mark.slow
@executed("07_runs")
def test_runs_are_compared_made_again_and_carried() -> None:
    notebook = execute(FOLDER / "07_runs.ipynb")

    def said(cell: str) -> str:
        return "".join(
            str(output.get("text") or output["data"]["text/plain"])
            for output in outputs(notebook, cell)
        )

    names = ["steered", "sgd 1e-1", "adam 1e-1", "adam 1e-2", "adam 1e-3"]
    assert all(name in said("list") and name in said("compare") for name in names)
    assert "jumpy" in said("changes")
    assert re.search(r"batch_size +64 +128 +calmer", said("changes"))
    assert "far too jumpy" in said("one")
    assert said("again").startswith("220 steps rerun from step 0, each loss and gradient norm")
    assert "<Run adam 1e-2: finished at step 220> True" in said("travel")


@pytest.mark.slow
@executed("05_what_is_wrong")
def test_every_patient_is_shown_then_diagnosed_and_remedies_are_proved() -> None:
    notebook = execute(FOLDER / "05_what_is_wrong.ipynb")

    def said(cell: str) -> str:
        return str(outputs(notebook, cell)[0]["data"]["text/plain"])

    patients = {
        "one": "Updates far too small", "two": "The loss diverges",
        "three": "Vanishing gradients", "four": "Gradient spike",
        "five": "Dropout before BatchNorm", "six": "Almost every gradient is clipped",
        "seven": "Overfitting", "eight": "Updates far too large",
    }  # fmt: skip
    for cell, fault in patients.items():
        assert "application/vnd.jupyter.widget-view+json" in str(outputs(notebook, cell))
        assert fault in said(f"{cell}-findings")
    for cell in ("one-fork", "two-fork", "three-fork", "five-fork", "six-fork", "seven-fork"):
        assert ": gone" in said(cell)
    assert "Nothing looks sick" in said("one-keep")
    assert "\n1300 | " in said("four-wrong-labels")
    assert "Gradient spike" not in said("four-cure")
    base, remedy = said("seven-fork").splitlines()[1:3]
    assert "worse: its loss is higher" in remedy
    assert float(remedy.split(" | ")[-1]) < 0.5 * float(base.split(" | ")[-1])
    assert "The step size is the cause" in said("eight-findings")
    assert "This takes too long for me" in said("own")
    assert "not named" not in said("all")
    assert said("all").count("learning rate") >= 5


@pytest.mark.slow
@executed("09_hugging_face")
def test_a_trainer_is_changed_and_its_hidden_nan_is_found() -> None:
    path = FOLDER / "09_hugging_face.ipynb"
    _skip_without_packages(path)
    notebook = execute(path)

    def said(cell: str) -> str:
        return printed(notebook, cell)

    assert re.search(r"^200 ", said("pause"), re.MULTILINE)
    clipped, rates = zip(
        *(row.split()[3:] for row in said("change").splitlines()[-3:]), strict=True
    )
    assert max(map(float, clipped)) <= 0.1000001
    assert float(rates[0]) > float(rates[-1])
    assert float(rates[0]) < 3e-4
    assert "scaled by the same factor" in said("changes")
    assert said("end").startswith("step 600, training loss 0.0")
    assert "nothing is rewound" in said("greyed")
    assert "41 of 41 parameters are NaN" in said("fault")
    assert "'loss': '0'" in said("fault")
    assert "NaN or Inf" in said("fault-seen")
    assert "The log hides NaN" in said("fault-seen")
    assert said("cure").startswith("with nbdebug: 0 parameters are NaN after")


def test_what_a_notebook_needs_is_said_in_its_text() -> None:
    for stem, packages in NEEDS.items():
        notebook = nbformat.read(FOLDER / f"{stem}.ipynb", as_version=4)
        intro = notebook.cells[0].source
        assert all(f"`{package}`" in intro for package in packages)
        assert "%pip install" in intro
        assert "Binder" in intro


@pytest.mark.slow
@executed("10_inside")
def test_inside_shows_a_dead_layer_and_where_a_word_looks() -> None:
    notebook = execute(FOLDER / "10_inside.ipynb")
    assert "64 of 64 units are 0 for every sample" in printed(notebook, "seen")
    picture = outputs(notebook, "picture")[0]["data"]["text/html"]
    assert picture.count('class="nbd-part') == 11
    assert "2.conv1 Conv2d" in picture
    points = outputs(notebook, "alike")[0]["data"]["text/html"]
    assert points.count("<circle") == 256
    assert set(re.findall(r"bold\">(\d+)</text>", points)) == {*"0123456789"}


@pytest.mark.slow
@executed("11_exercises")
def test_exercises_wait_for_the_reader_and_the_answers_cure_them() -> None:
    notebook = execute(FOLDER / "11_exercises.ipynb")

    answers = {
        "one": "a sample with NaN or Inf", "two": "learning rate far too large",
        "three": "a schedule of epochs at every step", "four": "raw outputs in nll_loss",
        "five": "dead layer", "six": "dropout of 0.85", "seven": "large weights",
    }  # fmt: skip
    known = printed(notebook, "faults")
    for cell, fault in answers.items():
        assert "application/vnd.jupyter.widget-view+json" in str(outputs(notebook, cell))
        assert repr(fault) in known
        assert printed(notebook, f"{cell}-guess") == "False"
        assert printed(notebook, f"{cell}-cure").startswith("not passed: ")
        told, *_, verdict = printed(notebook, f"{cell}-answer").splitlines()
        assert told.startswith(f"{fault}: ")
        assert verdict.startswith("passed: ")
