"""Explanations of exceptions that a layer or a loss of torch raises, in plain words."""
