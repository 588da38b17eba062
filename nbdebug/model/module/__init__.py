"""Names of layers, calls of the model, patches of a forward."""
