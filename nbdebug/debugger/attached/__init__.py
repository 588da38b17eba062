"""A training in another process, with the face of a Debugger."""
