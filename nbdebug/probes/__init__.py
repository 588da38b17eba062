"""Probes (floor 2): one file per measured quantity."""
