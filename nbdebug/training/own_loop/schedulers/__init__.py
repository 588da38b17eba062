"""Schedulers of a loop: how they are stepped, and with what."""
