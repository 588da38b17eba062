"""The record of one run: data, journal, files, location."""
