"""Handlers of commands, one class per command."""
