"""Calls of a model that are seen beside those of a training step."""
