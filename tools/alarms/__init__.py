"""Counts of alarms, true and false, of every check and rule."""
