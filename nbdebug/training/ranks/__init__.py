"""Several ranks that train one model together: commands that all apply at the same step."""
