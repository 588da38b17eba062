"""The Debugger and the parts it is made of."""
