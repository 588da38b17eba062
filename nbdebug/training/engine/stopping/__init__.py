"""What ends or pauses a run: breakpoints, NaN and Inf, errors, and the goal of a run."""
