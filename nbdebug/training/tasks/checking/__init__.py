"""Running the checklist."""
