"""What nbdebug costs, measured by one command: `python -m benchmarks`."""
