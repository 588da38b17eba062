"""Workflows, templates and hooks: they parse, and what they call is there."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(
    path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"
)
YAMLS = [
    *sorted(GITHUB.rglob("*.yml")), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff",
    ROOT / "binder" / "environment.yml",
]  # fmt: skip


def load(path: Path) -> Any:
    # BaseLoader: GitHub's `on` is no truth value, and 3.10 is no number.
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step of every job, with the name of its job."""
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            for step in job["steps"]:
                yield f"{path.name}: {name}", step


def commands() -> list[str]:
    """Every line that a workflow runs."""
    return [
        line for _, step in steps() if "run" in step for line in step["run"].strip().splitlines()
    ]


def make_words(text: str) -> list[str]:
    return re.findall(r"(?:^|&&|;)\s*make ([a-z]+)", text)


def scripts(text: str) -> list[str]:
    return re.findall(r"(?<![\w/.])((?:tools|\.ci)/[\w.-]+)", text)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.name)
def test_yaml_parses(path: Path) -> None:
    assert isinstance(load(path), dict)


def test_what_workflows_call_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    words = {word for line in commands() for word in make_words(line)}
    called = {script for line in commands() for script in scripts(line)}

    assert {"check", "most", "notebooks", "build", "binder", "soak"} <= words
    assert {".ci/run", "tools/smoke.py"} <= called
    assert [word for word in words if not re.search(rf"^{word}:", makefile, re.MULTILINE)] == []
    assert [script for script in called if not (ROOT / script).is_file()] == []


def test_what_make_and_ci_run_is_there_and_can_be_executed() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", ".ci/run")]
    called = {script for text in texts for script in scripts(text)}

    assert {"tools/install", "tools/check-build"} <= called
    assert [script for script in called if not (ROOT / script).is_file()] == []
    bare = {script for script in called if not script.endswith(".py")}
    assert [script for script in bare if not os.access(ROOT / script, os.X_OK)] == []


def test_files_groups_and_extras_that_are_installed_exist() -> None:
    install = (ROOT / "tools" / "install").read_text(encoding="utf-8")
    text = "\n".join([install, *commands(), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")])
    values = [load(path) for path in WORKFLOWS]
    pinned = set(re.findall(r"constraints[\w-]*\.txt", f"{text} {values}"))
    extras = set(re.findall(r'"\.\[(\w+)\]"', text))
    groups = set(re.findall(r"--group (\w+)", text))

    assert pinned == {"constraints.txt", "constraints-lowest.txt"}
    assert [name for name in pinned if not (ROOT / name).is_file()] == []
    assert {"lab", "all"} <= extras <= set(PYPROJECT["project"]["optional-dependencies"])
    assert {"dev", "test"} <= groups <= set(PYPROJECT["dependency-groups"])


def test_ci_tries_the_pythons_that_the_package_names() -> None:
    (ci,) = (load(path) for path in WORKFLOWS if path.name == "ci.yml")
    tried = ci["jobs"]["test"]["strategy"]["matrix"]["python"]
    prefix = "Programming Language :: Python :: 3."
    named = [
        name.removeprefix("Programming Language :: Python :: ")
        for name in PYPROJECT["project"]["classifiers"]
        if name.startswith(prefix)
    ]
    others = [step["with"]["python-version"] for _, step in steps() if "with" in step
              and "python-version" in step["with"]]  # fmt: skip

    assert tried == named
    assert PYPROJECT["project"]["requires-python"] == f">={tried[0]}"
    assert {version for version in others if not version.startswith("$")} <= set(tried)


def test_ci_tries_three_systems_and_both_ends_of_dependencies() -> None:
    (ci,) = (load(path) for path in WORKFLOWS if path.name == "ci.yml")
    matrix = ci["jobs"]["test"]["strategy"]["matrix"]
    systems = {*matrix["os"], *(one["os"] for one in matrix["include"])}
    systems.add(ci["jobs"]["windows"]["runs-on"])
    dependencies = ci["jobs"]["dependencies"]["strategy"]["matrix"]["include"]

    assert systems == {"ubuntu-latest", "macos-latest", "windows-latest"}
    assert [one["versions"] for one in dependencies] == ["lowest", "newest"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read_and_pull_requests_replace_each_other(path: Path) -> None:
    workflow = load(path)

    assert workflow["permissions"] == {"contents": "read"}
    assert not [name for name, job in workflow["jobs"].items() if "permissions" in job]
    assert workflow["concurrency"]["cancel-in-progress"] == (
        "${{ github.event_name == 'pull_request' }}"
    )
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_have_what_github_asks_for(path: Path) -> None:
    form = load(path)
    ids = [part["id"] for part in form["body"]]

    assert form["name"]
    assert form["description"]
    assert len(ids) == len(set(ids))
    assert all(part["attributes"]["label"] for part in form["body"])
    assert any(part.get("validations", {}).get("required") == "true" for part in form["body"])


def test_hooks_run_the_linters_of_make_check() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    repos = load(ROOT / ".pre-commit-config.yaml")["repos"]
    local = [hook["entry"] for repo in repos if repo["repo"] == "local" for hook in repo["hooks"]]

    assert {"check-yaml", "end-of-file-fixer"} <= {
        hook["id"] for repo in repos for hook in repo["hooks"]
    }
    assert local == [".venv/bin/ruff check --fix", ".venv/bin/ruff format"]
    assert "$(BIN)/ruff check" in makefile
    assert "$(BIN)/ruff format" in makefile


def test_citation_has_what_the_format_asks_for() -> None:
    citation = load(ROOT / "CITATION.cff")

    assert {"cff-version", "message", "title", "authors", "version"} <= set(citation)
    assert citation["authors"] == [{"name": PYPROJECT["project"]["authors"][0]["name"]}]
    assert citation["license"] == PYPROJECT["project"]["license"]
    assert citation["repository-code"] == PYPROJECT["project"]["urls"]["Source"]
