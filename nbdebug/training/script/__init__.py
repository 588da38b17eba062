"""A training as a plain PyTorch program."""
