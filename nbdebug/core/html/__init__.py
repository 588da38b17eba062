"""Small pictures as HTML text: sparkline, thumbnail."""
