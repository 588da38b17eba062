"""Every text of a record passes the one point of redaction, also a document that is new."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "nbdebug"
# The journal, all that is read for a report, an export or the store, tags and names in the store;
# the script and the checkpoint of a training; the picture that is saved with a notebook.
POINTS = {
    "runs/record/journal.py", "runs/record/run_data.py", "runs/store/mlflow_store.py",
    "training/script/writer.py", "training/timeline/disk/modules.py",
    "dashboard/still/page.py",
}  # fmt: skip


def imported(source: str) -> set[str]:
    tree = ast.parse(source)
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {node.module or "" for node in found}


def names_of(path: Path) -> set[str]:
    """Attributes and names that a file uses."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def sources(folder: str = "") -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


def test_secrets_are_masked_at_these_points_and_nowhere_else() -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in sources()
        if path.parent.name != "redaction"
        and any(".redaction" in one for one in imported(path.read_text(encoding="utf-8")))
    }

    assert users == POINTS


def test_documents_of_a_run_are_read_through_their_redaction() -> None:
    """`documents` holds them as they were; `RunData[...]` and its files are masked."""
    past = [
        str(path.relative_to(PACKAGE))
        for path in sources("runs")
        if "documents" in names_of(path) - {"current_documents"}
    ]

    assert past == [
        "runs/record/old_names.py", "runs/record/run_data.py", "runs/recording/run_log.py",
        "runs/store/imports/merge.py", "runs/store/run_store.py",
    ]  # fmt: skip


def test_frames_reach_a_file_through_the_journal_alone() -> None:
    users = {path.name for path in sources("runs/recording") if "encode" in names_of(path)}

    assert not users
