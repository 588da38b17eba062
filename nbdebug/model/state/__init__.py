"""Copies of weights, optimizer and random numbers; digests."""
