"""The picture of the last state that a notebook shows without a kernel."""
