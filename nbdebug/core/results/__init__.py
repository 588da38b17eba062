"""Results of the verbs, each frozen, with text, pandas and HTML."""
