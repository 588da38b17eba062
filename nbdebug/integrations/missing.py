"""Error for the package of a trainer that cannot be imported."""

from __future__ import annotations

from nbdebug.errors import MissingPackageError

MISSING = "{0} cannot be imported ({1}). Install it with: pip install {2}"


def missing_package(name: str, install: str, error: ImportError) -> MissingPackageError:
    """Error that tells how to install the package of a trainer.

    Args:
        name: of the trainer; install: name of its package.
    """
    return MissingPackageError(MISSING.format(name, error, install))
