"""Large parts of a dataset that reading a sample writes into."""
