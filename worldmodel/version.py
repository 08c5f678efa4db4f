"""The version, in the one place that builds and results read it from."""

__version__ = "0.1.0"
