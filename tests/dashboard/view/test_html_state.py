"""Texts around the plots are sent once; long ones are spread over several messages."""

from __future__ import annotations

from typing import Any

from nbdebug.dashboard.view.html_state import HtmlState


def sent_keys(state: HtmlState, budget: int | None = None) -> list[str]:
    changes: dict[str, dict[str, Any]] = state.changes(budget)
    return [f"{kind} {key}" for kind, values in changes.items() for key in values]


def test_long_sections_are_spread_over_messages_and_none_is_lost() -> None:
    state = HtmlState()
    for key in "abcd":
        state.set("sections", key, key * 40)
    state.set("notes", "loss", "no loss")
    assert sent_keys(state, 100) == ["notes loss", "sections a", "sections b"]
    assert state.everything()["sections"] == {"a": "a" * 40, "b": "b" * 40}
    # A newer value takes the place of the one that waits.
    state.set("sections", "c", "C" * 40)
    assert sent_keys(state, 100) == ["sections c", "sections d"]
    assert state.everything()["sections"]["c"] == "C" * 40
    assert sent_keys(state, 100) == []


def test_what_is_longer_than_the_budget_is_sent_alone() -> None:
    state = HtmlState()
    for key in "ab":
        state.set("sections", key, key * 400)
    assert sent_keys(state, 100) == ["sections a"]
    assert sent_keys(state, 100) == ["sections b"]


def test_without_a_budget_all_changes_are_taken() -> None:
    state = HtmlState()
    for key in "ab":
        state.set("sections", key, key * 400)
    assert sent_keys(state) == ["sections a", "sections b"]
