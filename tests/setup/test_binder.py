"""What Binder is given; `make binder` builds an environment with it."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.setup.binder_image import ROOT, run

BINDER = ROOT / "binder"


def asked_of_conda() -> dict[str, str]:
    """What environment.yml asks for: package to version."""
    packages = yaml.safe_load((BINDER / "environment.yml").read_text())["dependencies"]
    parts = [re.fullmatch(r"([a-z-]+)(.*)", package) for package in packages]
    return {part[1]: part[2] for part in parts if part}


def test_conda_is_asked_for_python_pip_and_torch_without_cuda() -> None:
    environment = yaml.safe_load((BINDER / "environment.yml").read_text())

    assert environment["channels"] == ["conda-forge"]
    assert set(asked_of_conda()) == {"python", "pip", "pytorch-cpu"}
    assert asked_of_conda()["python"] == "=3.11"


def test_the_same_file_makes_the_environment_that_the_docs_activate() -> None:
    environment = yaml.safe_load((BINDER / "environment.yml").read_text())
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")

    assert "\nconda env create -f binder/environment.yml\n" in start
    assert f"\nconda activate {environment['name']}\n" in start


def test_condas_torch_is_the_one_that_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert f"torch{asked_of_conda()['pytorch-cpu']}" in project["dependencies"]


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_executed(name: str) -> None:
    assert os.access(BINDER / name, os.X_OK)
    assert (BINDER / name).read_text().startswith("#!/usr/bin/env bash\n")


def test_start_gives_one_thread_and_hands_over(tmp_path: Path) -> None:
    show = "echo $OMP_NUM_THREADS $OMP_WAIT_POLICY $0 $1"
    bare = {"PATH": os.environ["PATH"]}

    out = run(BINDER / "start", "bash", "-c", show, "jupyter", "two words", cwd=tmp_path, env=bare)

    assert out.strip() == "1 passive jupyter two words"
