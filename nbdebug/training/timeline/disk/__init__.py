"""Files of checkpoints: names, checksums, structure, and the plain form of each part."""
