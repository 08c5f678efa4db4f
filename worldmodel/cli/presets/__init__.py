"""Hydra presets: defaults of verbs, experiments to train, topologies for accelerate."""

GROUPS = ("experiment",)
"""Folders here whose files a verb with presets may choose, `experiment=NAME`."""
