"""Checks of the five-step checklist, one file each."""
