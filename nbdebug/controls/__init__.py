"""Controls (floor 2): one file per setting that can change during training."""
