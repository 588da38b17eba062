"""The session, the loop and the parts of one step."""
