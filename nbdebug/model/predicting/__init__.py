"""Outputs of a model as predictions: classes, yes or no, or values."""
