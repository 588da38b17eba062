"""A live debugger for neural-network training, in the notebook."""
