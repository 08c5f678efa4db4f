"""Measurements of this package itself: reading, indexing, training, resuming; each a script that prints and keeps.

They are run from the root of a checkout (`python -m worldmodel.benchmarks.studies.NAME`): what they share with tests is
in `tests/support`, and neither the wheel nor the rest of the package knows them.
"""
