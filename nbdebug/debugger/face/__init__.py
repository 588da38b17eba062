"""The face that every training has, wherever it is made."""
