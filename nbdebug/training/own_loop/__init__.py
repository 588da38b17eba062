"""A loop of the user's own, whose body makes the steps of a training."""
