"""Floor 2: one file per quantity measured."""
