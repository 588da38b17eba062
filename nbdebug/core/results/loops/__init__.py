"""Facts of loops of the user's own."""
