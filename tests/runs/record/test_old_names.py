"""Documents of 0.1 get today's names; nothing is added and nothing else is touched."""

from __future__ import annotations

from nbdebug.runs.record.old_names import current_documents


def test_old_names_are_replaced_in_every_document() -> None:
    remedies = [{"text": "Exclude", "settings": {"not_finite": "leave_out"}}]
    old = {
        "parameters": {"left_out": [3], "not_finite": "leave_out", "lr": 0.1},
        "changes": [
            {"control": "left_out", "old": [], "new": [3]},
            {"control": "not_finite", "old": "stop", "new": "leave_out"},
        ],
        "findings": [{"name": "not_finite", "remedies": remedies}],
        "checks": [{"name": "overfit", "dear": True}],
    }

    assert current_documents(old) == {
        "parameters": {"excluded_samples": [3], "not_finite": "exclude", "lr": 0.1},
        "changes": [
            {"control": "excluded_samples", "old": [], "new": [3]},
            {"control": "not_finite", "old": "stop", "new": "exclude"},
        ],
        "findings": [
            {
                "name": "not_finite",
                "remedies": [{"text": "Exclude", "settings": {"not_finite": "exclude"}}],
            }
        ],
        "checks": [{"name": "overfit", "expensive": True}],
    }
    assert remedies[0]["settings"] == {"not_finite": "leave_out"}


def test_documents_of_another_form_are_returned_unchanged() -> None:
    odd = {
        "parameters": None,
        "changes": [{"a": 1}, "text", {"control": None, "new": "leave_out"}],
        "findings": [{"remedies": None}, {"remedies": [{"settings": None}, 7]}],
        "checks": {"dear": True},
        "notes": [{"text": "left_out"}],
    }

    assert current_documents(odd) == odd
