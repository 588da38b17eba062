"""Commands to the training thread, their queue, and the condition of a breakpoint."""
