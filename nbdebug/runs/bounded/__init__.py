"""Readers with bounded memory for files that others wrote: zip, JSON, Parquet."""
