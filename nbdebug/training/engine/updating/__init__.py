"""Passes of a step, over one batch or several, and the numbers of several optimizers."""
