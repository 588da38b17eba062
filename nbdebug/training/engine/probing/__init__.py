"""Probes and what they cost."""
