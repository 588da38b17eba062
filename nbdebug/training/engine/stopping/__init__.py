"""End and pause of a run: breakpoints, NaN and Inf, errors, and the goal of a run."""
