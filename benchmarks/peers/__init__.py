"""Other instruments on the same workloads, each beside the bare loop."""
