"""Loggers of MLflow and alembic, which would write into cells."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from nbdebug.core.contexts import contextmanager


@contextmanager
def quiet_loggers() -> Iterator[None]:
    """Context in which MLflow and alembic log only warnings."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
