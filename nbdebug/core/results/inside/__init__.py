"""Results of views inside the network."""
