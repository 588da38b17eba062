"""The meeting of the training thread and the thread of a loop of the user's own."""
