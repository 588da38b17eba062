"""Commands of the Makefile, and the driver of JupyterLab that tests and benchmarks share."""
