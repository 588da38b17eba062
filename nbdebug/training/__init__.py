"""Floor 3: session, loop, worker and sampler."""
