"""Measurements of this package itself: reading, indexing, training, resuming; each a script that prints and keeps."""
