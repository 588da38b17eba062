"""The dashboard around the panels: toolbar, controls, messages, pump."""
