"""Gradient clipping: its settings, and clipping inside of recurrent layers."""
