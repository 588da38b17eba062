"""Outcomes of checks that raised."""

from __future__ import annotations

from nbdebug.core.error_text import describe_error
from nbdebug.core.results.checks.check_result import Outcome


def failed(error: BaseException, subject: str) -> Outcome:
    """A fail of a check in which the user's code raised.

    Args:
        subject: beginning of the sentence, such as "The check failed".
    """
    return Outcome(
        "fail",
        f"{subject}: {describe_error(error)}",
        "no exception",
        "Fix the model, the loss or the data in another cell, then run the check again.",
        raised=True,
    )


def first_line(error: BaseException) -> str:
    """Class and first line of the message: what follows may be a tensor of a trial."""
    return describe_error(error).split("\n", 1)[0]
