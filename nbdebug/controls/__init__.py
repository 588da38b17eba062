"""Floor 2: one file per setting that may change while the model trains."""
