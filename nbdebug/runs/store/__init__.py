"""The MLflow store, the list of runs, and the functions that read them."""
