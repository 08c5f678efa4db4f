"""Hydra presets: defaults of verbs, experiments to train, topologies for accelerate."""
