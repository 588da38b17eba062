"""Old names of controls are accepted with a warning, and read from records without one."""

from __future__ import annotations

import warnings

import pytest

from nbdebug.core.deprecated import accepted_settings, current_settings, warn_deprecated
from nbdebug.errors import ControlNameError

OLD = {"left_out": [3], "not_finite": "leave_out", "lr": 0.1}
NEW = {"excluded_samples": [3], "not_finite": "exclude", "lr": 0.1}


def test_old_names_are_accepted_with_a_warning_that_names_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match="was renamed to") as caught:
        assert accepted_settings(OLD) == NEW

    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert "'left_out' was renamed to 'excluded_samples'" in texts[0]
    assert "not_finite='leave_out' was renamed to not_finite='exclude'" in texts[1]
    assert all("0.3" in text for text in texts)
    assert {warning.filename for warning in caught} == {__file__}


def test_names_of_records_are_read_silently() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert current_settings(OLD) == NEW
        assert current_settings(NEW) == accepted_settings(NEW) == NEW


def test_the_old_and_the_new_name_at_once_are_refused() -> None:
    with pytest.raises(ControlNameError, match="give only excluded_samples"):
        accepted_settings({"left_out": [3], "excluded_samples": [4]})


def test_the_value_of_another_control_is_not_renamed() -> None:
    assert accepted_settings({"clip_mode": "leave_out"}) == {"clip_mode": "leave_out"}


def test_a_warning_says_until_when_an_old_name_is_accepted() -> None:
    with pytest.warns(DeprecationWarning, match=r"old was renamed to new; .* until nbdebug 0\.3\."):
        warn_deprecated("old", "new")
