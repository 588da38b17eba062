"""Data of a loop of the user's own: passes over the loader that it iterates over."""
