"""The scripts behind the Makefile, where they have to say no."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the scripts and an empty `bin` for stand-ins."""
    shutil.copytree(TOOLS, tmp_path / "tools")
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname", "rm", "id", "env"):
        found = shutil.which(name)
        assert found is not None
        # No links: a stand-in written through one would replace the real command.
        stand_in(tmp_path, name, f'exec {found} "$@"')
    return tmp_path


def stand_in(checkout: Path, name: str, script: str) -> None:
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def run(checkout: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script that sees nothing but the stand-ins."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTHON")}
    environment = {**kept, **variables, "PATH": str(checkout / "bin")}
    return subprocess.run(
        ["bash", *command], cwd=checkout, env=environment, capture_output=True, text=True
    )


def test_an_old_python_is_refused_with_the_version_that_is_needed(checkout: Path) -> None:
    stand_in(checkout, "python3", "exit 1")

    result = run(checkout, "tools/install", "lab")

    assert result.returncode != 0
    assert "needs Python 3.11 or later" in result.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_without_venv_names_the_package_that_has_it(checkout: Path) -> None:
    stand_in(checkout, "python3", '[[ "$*" != *ensurepip* ]]')

    result = run(checkout, "tools/install", "lab")

    assert result.returncode != 0
    assert "no venv module" in result.stderr
    assert "apt-get install python3-venv" in result.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("word", ["", "comet"])
def test_a_word_that_is_none_is_refused(checkout: Path, word: str) -> None:
    result = run(checkout, "tools/install", word)

    assert result.returncode == 2
    assert f"Usage: tools/install lab|test, got '{word}'" in result.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("word", "packages"), [("lab", "--editable .[lab]"), ("test", "--editable .[all] --group dev")]
)
def test_pip_is_brought_up_to_date_then_torch_comes_and_then_the_packages(
    checkout: Path, word: str, packages: str
) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\necho "$@"\n')
    python.chmod(0o755)
    stand_in(checkout, "touch", f'exec {shutil.which("touch")} "$@"')

    result = run(checkout, "tools/install", word)

    assert result.returncode == 0, result.stderr
    # Groups need pip 25.1; torch comes alone, so that nothing else chooses its build.
    install = "-m pip --disable-pip-version-check install --constraint constraints.txt"
    assert result.stdout.splitlines() == [
        f"{install} --quiet --upgrade pip",
        f"{install} torch",
        f"{install} {packages}",
    ]
    assert (checkout / ".venv" / f"installed-{word}").exists()


def test_packages_are_installed_where_the_user_may(checkout: Path) -> None:
    stand_in(checkout, "id", "echo 0")
    stand_in(checkout, "apt-get", 'echo "$@"')

    result = run(checkout, "tools/debian-install", "chromium")

    assert result.returncode == 0
    *_, last = result.stdout.splitlines()
    assert last.split()[-3:] == ["install", "--no-install-recommends", "chromium"]


def test_without_rights_nothing_is_installed(checkout: Path) -> None:
    stand_in(checkout, "id", "echo 1000")
    stand_in(checkout, "apt-get", "touch installed")

    result = run(checkout, "tools/debian-install", "chromium")

    assert result.returncode != 0
    assert "needs root, or sudo without a password" in result.stderr
    assert not (checkout / "installed").exists()


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_missing_browser_fails_only_in_ci(checkout: Path, ci: str, code: int) -> None:
    result = run(checkout, "tools/install-chromium", CI=ci)

    assert result.returncode == code
    assert "browser tests cannot run" in result.stderr
