"""The database file of a store: read with SQL, made beside its place, salvaged."""
