"""Stack of the control changes that can be taken back."""
