"""A training and who looks at it in two processes: what travels between them, and how."""
