"""Passes over data that is read bit by bit: streams, batch samplers, long samplers."""
