"""The operation and the source line where a number of the user's code comes from."""
