"""Floor 3: the training thread with its session, loop, timeline and tasks."""
