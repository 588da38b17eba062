"""Results of the checks, their report and its table."""
