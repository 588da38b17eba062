"""Packages of the extra `runs`, which the core install does without."""

from __future__ import annotations

from importlib.util import find_spec

from nbdebug._version import install_line
from nbdebug.errors import MissingPackageError
from nbdebug.runs.record.location import StoreLocation

SERVER = ("mlflow", "pyarrow")
DATABASE = (*SERVER, "sqlalchemy", "alembic", "filelock")


def require_packages(place: StoreLocation) -> None:
    """Check that the packages behind a store of runs are installed.

    Raises:
        MissingPackageError: one is missing; says how to install it.
    """
    absent = _absent(SERVER if place.file is None else DATABASE)
    if absent:
        names = ", ".join(absent)
        raise MissingPackageError(
            f"The list of runs needs packages that are not installed ({names}): "
            f"{install_line('runs')}"
        )


def require_pyarrow() -> None:
    """Check that Parquet can be read and written.

    Raises:
        MissingPackageError: pyarrow is missing; says how to install it.
    """
    if _absent(("pyarrow",)):
        raise MissingPackageError(
            f"Parquet and zip files need pyarrow, which is not installed: {install_line('runs')}"
        )


def kept_in(place: StoreLocation) -> str:
    """Name of the store, or of the folder of journals where its packages are missing."""
    if _absent(SERVER if place.file is None else DATABASE):
        return f"journals in {place.folder.name}/"
    return place.name


def _absent(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if not installed(name)]


def installed(package: str) -> bool:
    """True if a package can be imported."""
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        # An import hook refuses it, or a test put None in its place.
        return False
