"""Setups with one planted fault that a check names before training, grouped by place."""
