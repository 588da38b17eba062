"""Streams that share objects with the steps of a training."""
