"""Records that come into the store: journals without a writer, and files of runs."""
