"""Watching a loop of the user's own."""
