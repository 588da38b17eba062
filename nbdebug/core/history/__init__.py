"""The bounded store of numbers, its blocks and columns, and snapshots of it."""
