"""Floor 1: all changes to the user's nn.Module and optimizer."""
