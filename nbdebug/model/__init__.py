"""Floor 1: everything ever done to the user's nn.Module."""
