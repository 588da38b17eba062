"""File formats for runs, one per file."""
