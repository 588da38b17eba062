"""Inputs that a loop gives its model: in training steps, and in a validation between them."""
