"""The offline HTML page of a run."""
