"""States of the generators of random numbers that a training draws from."""
