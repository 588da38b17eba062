"""State that a loop of the user's own moves: its variables, counters and iterators."""
