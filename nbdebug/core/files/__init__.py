"""Files that nbdebug writes and reads: who may read them, where they go, what they are."""
