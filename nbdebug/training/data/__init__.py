"""Sources of data and samplers of batches."""
