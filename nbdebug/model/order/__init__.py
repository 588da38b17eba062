"""The order of dropout and normalisation layers."""
