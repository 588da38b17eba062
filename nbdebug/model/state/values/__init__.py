"""Copies of Python values that a training may move."""
