"""Binder without Docker: a fresh venv stands in for the conda environment of its image.

It takes minutes, so no other run of the tests collects it: `make binder`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
TORCH = "import torch; print(torch.__version__, torch.__file__)"
CHECKOUT = (
    "nbdebug", "notebooks", "docs", "binder", "pyproject.toml", "constraints.txt", "README.md",
)  # fmt: skip


def run(*command: str | Path, cwd: Path, env: dict[str, str]) -> str:
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}:\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A checkout, and the variables of an environment that holds torch and nothing else."""
    folder = tmp_path_factory.mktemp("binder")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in (*CHECKOUT, "LICENSE"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, checkout / name)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        "PATH": f"{folder / 'conda' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", str(folder)),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    run(sys.executable, "-m", "venv", folder / "conda", cwd=folder, env=environment)
    (pin,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    run("python", "-m", "pip", "install", pin, cwd=folder, env=environment)
    return checkout, environment


def test_post_build_leaves_torch_and_the_quickstart_runs(
    image: tuple[Path, dict[str, str]],
) -> None:
    checkout, environment = image
    before = run("python", "-c", TORCH, cwd=checkout / "notebooks", env=environment)

    run(checkout / "binder" / "postBuild", cwd=checkout, env=environment)

    folder = checkout / "notebooks"
    assert run("python", "-c", TORCH, cwd=folder, env=environment) == before
    where = run(
        "python", "-c", "import nbdebug; print(nbdebug.__file__)", cwd=folder, env=environment
    )
    assert "site-packages" in where
    package = Path(where.strip()).parent
    assert list(package.glob("dashboard/view/*.js"))
    assert list(package.parent.glob("pandas/*"))
    assert not list(package.parent.glob("**/tests/"))
    start = checkout / "binder" / "start"
    run(
        start, "jupyter", "execute", "--inplace", "01_quickstart.ipynb", cwd=folder, env=environment
    )
    notebook = nbformat.read(folder / "01_quickstart.ipynb", as_version=4)
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
