"""Runs side by side, and runs made again from their record."""
