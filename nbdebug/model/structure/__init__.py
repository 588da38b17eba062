"""Structure of a model, recorded while it is called once."""
