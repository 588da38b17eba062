"""Trial steps: of a fork, and of a step that is made twice."""
