"""The two `data` verbs as plain dataclasses and functions."""
