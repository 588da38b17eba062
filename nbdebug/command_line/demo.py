"""`python -m nbdebug demo`: the quickstart, written to a folder and opened in JupyterLab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import nbdebug
from nbdebug._version import install_line
from nbdebug.errors import MissingPackageError, OutputError
from nbdebug.runs.record.store_packages import installed

NAME = "nbdebug_quickstart.ipynb"
PACKAGE = Path(nbdebug.__file__).parent
# In an installed package, and in a clone.
SOURCES = (
    PACKAGE / "examples" / "quickstart.ipynb",
    PACKAGE.parent / "notebooks" / "01_quickstart.ipynb",
)
NEEDS = {"jupyterlab": "JupyterLab", "sklearn": "scikit-learn"}
MISSING = "The quickstart needs {}. Install with: {}"
WRITTEN = "Wrote {}."
KEPT = "{} is there already, and left as it is."
OPENS = "JupyterLab opens it in the browser. Ctrl+C here ends JupyterLab."
LATER = "Open it with: {} -m jupyterlab {}"


def demo(given: Namespace) -> None:
    """Write the quickstart, unless it is there, and open it until JupyterLab is ended.

    Raises:
        MissingPackageError: JupyterLab or scikit-learn is not installed; the notebook is written.
        OutputError: the folder cannot be written to.
    """
    path = Path(given.folder) / NAME
    print((WRITTEN if write(path) else KEPT).format(path), flush=True)
    missing = [name for module, name in NEEDS.items() if not installed(module)]
    if missing:
        raise MissingPackageError(MISSING.format(" and ".join(missing), install_line("lab")))
    if given.write_only:
        print(LATER.format(Path(sys.executable).name, path))
        return
    print(OPENS, flush=True)
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    subprocess.run(
        [sys.executable, "-m", "jupyterlab", *root, path.name], cwd=path.parent, check=False
    )


def write(path: Path) -> bool:
    """Write the quickstart; False if there is a file of this name, which is left alone.

    Raises:
        OutputError: the folder cannot be written to.
    """
    source = next(one for one in SOURCES if one.is_file())
    notebook = json.loads(source.read_text(encoding="utf-8"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            json.dump(notebook, file, ensure_ascii=False, indent=1)
    except FileExistsError:
        if path.is_file():
            return False
        raise OutputError(f"{path} cannot be written: a file or folder is in its place.") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    return True
