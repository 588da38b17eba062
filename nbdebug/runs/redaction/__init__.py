"""Masking of secrets in sources and cells."""
