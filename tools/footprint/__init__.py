"""What a stranger waits for and installs: minutes to the first moving plot, sizes, memory."""
