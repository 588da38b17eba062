"""Checkpoints, rewind, replay and resume."""
