"""Checks (floor 2) of the five-step checklist: one file per check."""
